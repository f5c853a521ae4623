/* SPDX-License-Identifier: ISC */
#include "volume.h"
#include "crash.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

enum { VOLUME_SIZE = 64 << 20, NO_LOG_FLUSH = 2, ATTEMPTS = 50 };

#define SHUTDOWN _IOR('X', 125, uint32_t)

char volume_path[4096];
static char image[4096], device[64];
static const char *reason;
static char words[256];

static bool fails(const char *what)
{
	snprintf(words, sizeof words, "%.120s: %s", what, strerror(errno));
	reason = words;
	return false;
}

static bool make_file(void)
{
	char command[8192];
	int fd = open(image, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	bool made = fd >= 0 && ftruncate(fd, VOLUME_SIZE) == 0;
	if (fd >= 0)
		close(fd);
	if (!made)
		return fails("no file for an ext4");
	snprintf(command, sizeof command, "PATH=$PATH:/sbin:/usr/sbin mkfs.ext4 -q -F -E lazy_itable_init=0 '%s' "
		">/dev/null 2>&1", image);
	if (system(command) != 0) {
		reason = "mkfs.ext4 is missing";
		return false;
	}
	return true;
}

/*
 * A device that goes with the last one who has it open: *loop, and then the mount. Somebody else may take a free one
 * first. It is another one for each mount, as what the kernel has cached of a device in use outlives a cut.
 */
static bool attach(int *loop)
{
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	struct loop_config config = { .info.lo_flags = LO_FLAGS_AUTOCLEAR, .block_size = 512 };
	int file = open(image, O_RDWR | O_CLOEXEC);
	bool done = false;
	config.fd = (uint32_t)file;
	for (int i = 0; control >= 0 && file >= 0 && !done && i < ATTEMPTS; i++) {
		int number = ioctl(control, LOOP_CTL_GET_FREE);
		snprintf(device, sizeof device, "/dev/loop%d", number);
		*loop = number < 0 ? -1 : open(device, O_RDWR | O_CLOEXEC);
		done = *loop >= 0 && ioctl(*loop, LOOP_CONFIGURE, &config) == 0;
		if (!done && *loop >= 0)
			close(*loop);
		if (!done)
			nap();
	}
	if (!done)
		fails("no loop device");
	if (control >= 0)
		close(control);
	if (file >= 0)
		close(file);
	return done;
}

const char *volume_make(const char *place)
{
	int loop = -1;
	snprintf(image, sizeof image, "%.4000s/image", place);
	snprintf(volume_path, sizeof volume_path, "%.4000s/disk", place);
	if (geteuid() != 0)
		return "only root can cut the power of a disk";
	if (mkdir(volume_path, 0700) != 0 && errno != EEXIST)
		fails(volume_path);
	else if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
		fails("no namespace for mounts");
	else if (make_file() && attach(&loop) && mount(device, volume_path, "ext4", 0, NULL) != 0)
		fails("no ext4 can be mounted");
	if (loop >= 0)
		close(loop);
	if (!reason)
		volume_unmount();
	return reason;
}

void volume_mount(const char *options)
{
	int loop;
	need(attach(&loop), "%s", reason);
	need(mount(device, volume_path, "ext4", MS_NOATIME, options) == 0, "mounting with %s: %s", options, strerror(errno));
	close(loop);
}

void volume_cut(void)
{
	int fd = open(volume_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	uint32_t how = NO_LOG_FLUSH;
	need(fd >= 0 && ioctl(fd, SHUTDOWN, &how) == 0, "cutting: %s", strerror(errno));
	close(fd);
}

void volume_unmount(void)
{
	for (int i = 0; umount2(volume_path, 0) != 0; i++) {
		need(errno == EBUSY && i < 2000, "unmounting: %s", strerror(errno));
		nap();
	}
}
