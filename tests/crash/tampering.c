/* SPDX-License-Identifier: ISC */
/*
 * tampering [-n RACES] [-r SEED] [-x STATE] PLACE [files|owner]
 *
 * A store directory in which somebody else had his hands. Each of its files, and the directory itself, is in turn what it
 * should not be: a symbolic link, a fifo, a socket, a device, a directory, a file that has a second name elsewhere, one of
 * another user, one that others may write. Then the library opens it, to read, to write, to create, and tools do: what is
 * asked for is refused, with the right status, at once, and nothing outside of the store is changed, or made.
 * Last, in a parent directory that everybody may write, somebody swaps the store for other things while it is opened
 * RACES times.
 *
 * Deliberate faults: the library does not look at the "files", or not at the "owner".
 */
#include "victim/fingerprint.h"
#include "victim/toolset.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

enum { NOBODY = 65534, HANG = 10, RACES = 2000, TOOLS = 4 };

static char place[PATH_MAX], store[PATH_MAX + 16], outside[PATH_MAX + 16], building[PATH_MAX + 16];
static bool no_files, no_owner;
static uint64_t untouched;	/* the fingerprint of outside */
static unsigned tried, skipped;

int __real_inspect_files(lmq_store *s);
int __wrap_inspect_files(lmq_store *s);
int __real_inspect_owner(lmq_store *s, int fd);
int __wrap_inspect_owner(lmq_store *s, int fd);

int __wrap_inspect_files(lmq_store *s)
{
	return no_files ? 0 : __real_inspect_files(s);
}

int __wrap_inspect_owner(lmq_store *s, int fd)
{
	return no_owner ? 0 : __real_inspect_owner(s, fd);
}

/* ---- what is done to a store ------------------------------------------------------------------- */

enum way { SYMLINK, DANGLING, FIFO, SOCKET, DEVICE, DIRECTORY, HARD_LINK, FOREIGN, GROUP_WRITES, ALL_WRITE, ABSENT, WAYS };
static const char *const way_names[] = { "a symbolic link", "a symbolic link to nothing", "a fifo", "a socket", "a device",
	"a directory", "a file with a second name", "somebody else's", "writable by its group", "writable by all", "absent" };

static const char *const files[] = { MARKER_NAME, "data.mdb", "lock.mdb", "control", "", ".store.new" };
enum { DATA = 1, FILES = 4, SELF = 4, BUILDING = 5, TARGETS = 6 };

static const char *path_of(int target)
{
	static char path[PATH_MAX + 64];
	if (target == BUILDING)
		return building;
	snprintf(path, sizeof path, "%s%s%s", store, target == SELF ? "" : "/", files[target]);
	return path;
}

/* What a link leads to: the same thing of a sound store outside, so that following it would work. */
static const char *twin_of(int target)
{
	static char path[PATH_MAX + 64];
	if (target == BUILDING)
		snprintf(path, sizeof path, "%s/empty", outside);
	else
		snprintf(path, sizeof path, "%s/other%s%s", outside, target == SELF ? "" : "/", files[target]);
	return path;
}

static bool make_socket(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool made;
	made = strlen(path) < sizeof address.sun_path;
	memcpy(address.sun_path, path, made ? strlen(path) : 0);
	made = made && bind(fd, (struct sockaddr *)&address, sizeof address) == 0;
	close(fd);
	return made;
}

/* False: not possible here, or no difference. */
static bool tamper(int target, enum way way)
{
	const char *path = path_of(target);
	bool directory = target >= SELF;
	char missing[PATH_MAX + 64];
	if (target == BUILDING) {
		remove_tree(store);
		mkdir(building, 0700);
	}
	snprintf(missing, sizeof missing, "%s/missing", outside);
	if (way < FOREIGN || way == ABSENT) {
		if ((way == DIRECTORY || way == HARD_LINK || way == ABSENT) && directory)
			return false;
		remove_tree(path);
	}
	switch (way) {
	case SYMLINK:
		return symlink(twin_of(target), path) == 0;
	case DANGLING:
		return symlink(missing, path) == 0;
	case FIFO:
		return mkfifo(path, 0600) == 0;
	case SOCKET:
		return make_socket(path);
	case DEVICE:
		return mknod(path, S_IFCHR | 0600, makedev(1, 5)) == 0;
	case DIRECTORY:
		return mkdir(path, 0700) == 0;
	case HARD_LINK:
		return link(twin_of(target), path) == 0;
	case FOREIGN:
		return lchown(path, NOBODY, NOBODY) == 0;
	case GROUP_WRITES:
		return chmod(path, directory ? 0720 : 0620) == 0;
	case ALL_WRITE:
		return chmod(path, directory ? 01702 : 0602) == 0;
	default:
		return true;
	}
}

/* Whether a status is right, for reading, and for writing with LMQ_CREATE. */
static bool is_right(int target, enum way way, unsigned flags, int rc)
{
	bool creates = flags & LMQ_CREATE;
	if (way == ABSENT && target == DATA)
		return rc == LMQ_EDAMAGED;
	if (way == ABSENT && target == 0)
		return rc == (creates ? LMQ_ECREATE : LMQ_ENOENT);
	if (way == ABSENT)
		return rc == 0;
	if (target == BUILDING && !creates)
		return rc == LMQ_ENOENT;
	if (target >= SELF && way >= FIFO && way <= DEVICE)
		return rc == (creates ? LMQ_ECREATE : LMQ_ENOENT);
	if (target == BUILDING && way <= DEVICE)
		return rc == LMQ_ECREATE;
	return rc == LMQ_EACCES;
}

/* ---- trying it ---------------------------------------------------------------------------------- */

static int open_it(void *argument)
{
	const unsigned flags = *(const unsigned *)argument;
	const struct lmq_store_options options = { sizeof options, flags, INT64_C(500) * MS };
	struct lmq_message m = LMQ_MESSAGE_INIT;
	lmq_channel *c;
	lmq_writer *w;
	lmq_store *s;
	int rc;
	alarm(HANG);
	rc = lmq_store_open(store, &options, &s);
	m.body = (struct lmq_bytes){ "more", 4 };
	if (rc == 0 && flags & LMQ_CREATE && lmq_channel_open(s, "jobs", LMQ_QUEUE, LMQ_CREATE, &c) == 0 &&
			lmq_writer_open(s, LMQ_SYNC_RELAXED, &w) == 0 && lmq_writer_add(w, c, &m) == 0)
		lmq_writer_commit(w);
	lmq_store_close(s);
	return rc;
}

static int run_tool(void *argument)
{
	static const char *const commands[TOOLS][4] = {
		{ "mq-ls" }, { "mq-recv", "jobs" }, { "mq-send", "jobs", "more" }, { "mq-check", "-v" },
	};
	char path[PATH_MAX + 16], *words[4];
	const char *const *command = commands[*(const int *)argument];
	int null = open("/dev/null", O_RDWR);
	for (int i = 0; i < 4; i++)
		words[i] = (char *)command[i];
	dup2(null, 1);
	dup2(null, 2);
	alarm(HANG);
	setenv("MQ_STORE", store, 1);
	snprintf(path, sizeof path, "%s/%s", tools_built(), words[0]);
	execv(path, words);
	return 127;
}

static void copy_file(const char *from, const char *to)
{
	int in = open(from, O_RDONLY | O_CLOEXEC), out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	need(in >= 0 && out >= 0, "%s to %s: %s", from, to, strerror(errno));
	while (sendfile(out, in, NULL, 1 << 20) > 0)
		;
	close(in);
	close(out);
}

static void copy_store(const char *to)
{
	char from_file[PATH_MAX + 64], to_file[PATH_MAX + 64];
	need(mkdir(to, 0700) == 0, "%s: %s", to, strerror(errno));
	for (int i = 0; i < FILES; i++) {
		snprintf(from_file, sizeof from_file, "%s/sound/%s", place, files[i]);
		snprintf(to_file, sizeof to_file, "%s/%s", to, files[i]);
		copy_file(from_file, to_file);
	}
}

/* The store as it was made, and nothing beside it. */
static void fresh(void)
{
	remove_tree(store);
	remove_tree(building);
	copy_store(store);
}

static void make_outside(void)
{
	char path[PATH_MAX + 32];
	snprintf(path, sizeof path, "%s/other", outside);
	need(mkdir(outside, 0700) == 0, "%s: %s", outside, strerror(errno));
	copy_store(path);
	snprintf(path, sizeof path, "%s/empty", outside);
	mkdir(path, 0700);
	untouched = fingerprint(AT_FDCWD, outside);
}

static void check_outside(const char *what, const char *how)
{
	need(fingerprint(AT_FDCWD, outside) == untouched, "%s is %s: something outside was changed", what, how);
}

static void try_library(int target, enum way way, unsigned flags)
{
	int status;
	fresh();
	if (!tamper(target, way)) {
		skipped++;
		return;
	}
	status = in_child(open_it, &flags);
	need(is_right(target, way, flags, status > 100 && status < 128 ? 100 - status : status),
		"%s is %s: %s ends with %d", files[target][0] ? files[target] : "the store", way_names[way],
		flags & LMQ_CREATE ? "a writer" : "a reader", status);
	check_outside(files[target], way_names[way]);
	tried++;
}

static void try_tools(int target, enum way way)
{
	int status;
	for (int i = 0; i < TOOLS; i++) {
		fresh();
		if (!tamper(target, way))
			return;
		status = in_child(run_tool, &i);
		need(status == 66 || status == 70 || status == 73 || status == 77 || (way == ABSENT && status == 0),
			"%s is %s: tool %d ends with %d", files[target], way_names[way], i, status);
		check_outside(files[target], way_names[way]);
		tried++;
	}
}

static void try_all(const struct trial *t)
{
	for (int target = 0; target < TARGETS; target++)
		for (enum way way = 0; way < WAYS; way++) {
			trial_state = (uint64_t)target * WAYS + way;
			if (t->only != UINT64_MAX && t->only != trial_state)
				continue;
			try_library(target, way, LMQ_READ_ONLY);
			try_library(target, way, LMQ_CREATE);
			if (target != BUILDING)
				try_tools(target, way);
		}
	trial_state = UINT64_MAX;
}

/* ---- the race ----------------------------------------------------------------------------------- */

/* The store, a link to another one, somebody else's directory and nothing take turns under the store's name. */
static int swap(void *argument)
{
	char kept[PATH_MAX + 32], foreign[PATH_MAX + 32], away[PATH_MAX + 32];
	(void)argument;
	snprintf(kept, sizeof kept, "%s.kept", store);
	snprintf(foreign, sizeof foreign, "%s.foreign", store);
	snprintf(away, sizeof away, "%s.away", store);
	for (;;) {
		rename(store, kept);
		if (symlink(twin_of(SELF), store) == 0)
			unlink(store);
		rename(foreign, store);
		rename(store, foreign);
		rename(kept, store);
	}
	return 0;
}

static void race(const struct trial *t)
{
	uint64_t races = t->count ? t->count : RACES;
	unsigned ends[256] = { 0 }, flags = LMQ_READ_ONLY;
	pid_t swapper;
	char foreign[PATH_MAX + 32];
	snprintf(foreign, sizeof foreign, "%s.foreign", store);
	fresh();
	copy_store(foreign);
	if (chown(foreign, NOBODY, NOBODY) != 0)
		chmod(foreign, 0777);
	swapper = child(swap, NULL);
	for (uint64_t i = 0; i < races; i++) {
		int status = in_child(open_it, &flags);
		need(status < 128, "a store that is being swapped: a process died by signal %d", status - 128);
		ends[status]++;
		flags = draw(2) ? LMQ_READ_ONLY : 0;
	}
	kill(swapper, SIGKILL);
	end_of(swapper);
	check_outside("the store", "being swapped");
	need(races < RACES || (ends[0] > 0 && ends[100 - LMQ_EACCES] > 0), "the race was none: %u opened, %u refused", ends[0],
		ends[100 - LMQ_EACCES]);
	printf("%u times tampered with, %u not possible here; swapped while %llu opened it: %u did, %u were refused\n", tried,
		skipped, (unsigned long long)races, ends[0], ends[100 - LMQ_EACCES]);
}

/* Who waits for a lock that somebody else may hold for ever must see first that it is somebody else's. */
static void held_by_others(void)
{
	int fd;
	fresh();
	if (!tamper(BUILDING, FOREIGN))
		return;
	fd = open(building, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	need(fd >= 0 && flock(fd, LOCK_EX) == 0, "%s: %s", building, strerror(errno));
	need(in_child(open_it, &(unsigned){ LMQ_CREATE }) == 100 - LMQ_EACCES, "a creator waits for somebody else's lock");
	close(fd);
}

int main(int argc, char **argv)
{
	struct trial t = trial_begin(argc, argv);
	char sound[PATH_MAX + 16];
	need(realpath(t.place, place), "%s: %s", t.place, strerror(errno));
	snprintf(store, sizeof store, "%s/store", place);
	snprintf(outside, sizeof outside, "%s/outside", place);
	snprintf(building, sizeof building, "%s/.store.new", place);
	snprintf(sound, sizeof sound, "%s/sound", place);
	need(put_once(sound, "one") == 0, "%s: no store can be made", sound);
	make_outside();
	no_files = trial_word(&t, "files");
	no_owner = trial_word(&t, "owner");
	try_all(&t);
	if (t.only == UINT64_MAX) {
		held_by_others();
		race(&t);
	}
	return 0;
}
