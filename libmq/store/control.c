/* SPDX-License-Identifier: ISC */
/*
 * The control file: a page of shared memory for wake-ups and signs, and an address space for locks.
 *
 * It holds no data. Whatever its bytes are, no message is lost or doubled: a lost wake-up is made good by
 * the slow re-check of every wait, exclusion rests on OFD locks that live in the kernel and not on these
 * bytes, and the file is brought to its full size, by allocation, before it is mapped, so that no access to
 * the map can fail on a full disk.
 */
#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Two PID namespaces would each see the other's processes as dead in LMDB's table of readers. */
static int pid_namespace(lmq_store *s, uint64_t *number)
{
	struct stat st;
	if (stat("/proc/self/ns/pid", &st) != 0)
		return errno == ENOENT ? fail(s, LMQ_ESYSTEM, "/proc: is not mounted") : fail_errno(s, "/proc", errno);
	*number = (uint64_t)st.st_ino;
	return 0;
}

/*
 * LMDB holds a POSIX lock on the first byte of lock.mdb. What cannot be found out is taken for used. To ask takes no
 * permission to write: the filesystem may be mounted read-only here only.
 */
bool control_in_use(lmq_store *s)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1 };
	int fd = openat(s->directory, "lock.mdb", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	bool used;
	if (fd < 0)
		return errno != ENOENT && errno != EACCES;
	used = fcntl(fd, F_GETLK, &lock) != 0 || lock.l_type != F_UNLCK;
	close(fd);
	return used;
}

/* What none of us has written must keep nobody out. */
static uint32_t seal(uint64_t namespace)
{
	return (uint32_t)((namespace + 1) * UINT64_C(0x9e3779b97f4a7c15) >> 32);
}

static int join_namespace(lmq_store *s)
{
	uint64_t mine = 0, theirs = atomic_load(&s->control->pid_namespace);
	bool sealed = atomic_load(&s->control->namespace_seal) == seal(theirs);
	int rc = pid_namespace(s, &mine);
	if (rc != 0 || (mine == theirs && sealed))
		return rc;
	if (theirs != 0 && sealed && control_in_use(s))
		return fail(s, LMQ_EFORMAT, "%s: in use by processes of another PID namespace (container)", s->path);
	atomic_store(&s->control->pid_namespace, mine);
	atomic_store(&s->control->namespace_seal, seal(mine));
	return 0;
}

static int control_stand_in(lmq_store *s)
{
	s->control = mmap(NULL, sizeof *s->control, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (s->control == MAP_FAILED) {
		s->control = NULL;
		return fail_errno(s, s->path, errno);
	}
	s->control_private = true;
	return 0;
}

static int control_map(lmq_store *s)
{
	struct stat st;
	bool holes;
	int rc;
	s->control_fd = openat(s->directory, "control", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (s->control_fd < 0 && s->read_only && (errno == EROFS || errno == EACCES))
		return control_stand_in(s);
	if (s->control_fd < 0 || fstat(s->control_fd, &st) != 0)
		return fail_errno(s, s->path, errno);
	/* New, cut short, made by an older version, or with holes. */
	holes = st.st_blocks * 512 < st.st_size;
	if (st.st_size < (off_t)sizeof *s->control || holes) {
		rc = posix_fallocate(s->control_fd, 0, sizeof *s->control);
		if (rc != 0)
			return fail_errno(s, s->path, rc);
	}
	s->control = mmap(NULL, sizeof *s->control, PROT_READ | PROT_WRITE, MAP_SHARED, s->control_fd, 0);
	if (s->control == MAP_FAILED) {
		s->control = NULL;
		return fail_errno(s, s->path, errno);
	}
	/* The copy of a store may have lost what is behind the page, and says that it is there. */
	if (holes)
		atomic_store(&s->control->ballast, 0);
	return join_namespace(s);
}

/* Called under the gate. */
int control_open(lmq_store *s)
{
	int rc = control_map(s);
	if (rc != 0)
		control_close(s);
	return rc;
}

void control_close(lmq_store *s)
{
	if (s->control)
		munmap(s->control, sizeof *s->control);
	s->control = NULL;
	if (s->control_fd >= 0)
		close(s->control_fd);
	s->control_fd = -1;
}
