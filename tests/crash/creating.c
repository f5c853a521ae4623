/* SPDX-License-Identifier: ISC */
/*
 * creating DIRECTORY [in-place] [COMMAND...]
 *
 * A process that is killed while it creates a store leaves nothing that is in the way. A creator is killed
 * at each of its system calls in turn: then either there is nothing under the store's name or a complete
 * store, and the next one succeeds. Who uses a store before its creator has synced the directory with its name syncs
 * that himself. After that creators race. The creator that is killed is COMMAND, with the
 * store's path as MQ_STORE in its environment, or this program. in-place: a creator that builds the store where
 * it belongs, which must not pass.
 */
#include "crash.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { LEAST = 60, RACES = 40, RACERS = 4 };

static bool in_place;
static const char *directory;
static char path[4096], left[4200];
static char **command;

int __real_store_create(lmq_store *s, const char *at);
int __wrap_store_create(lmq_store *s, const char *at);

/* The store's directory and marker first, then the rest: as one makes it without thinking of kills. */
int __wrap_store_create(lmq_store *s, const char *at)
{
	static const char *const files[] = { MARKER_NAME, "lock.mdb", "control", "data.mdb" };
	char from[4200], to[4200];
	int rc;
	if (!in_place)
		return __real_store_create(s, at);
	snprintf(from, sizeof from, "%s.other", at);
	rc = __real_store_create(s, from);
	mkdir(at, 0700);
	for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
		snprintf(from, sizeof from, "%s.other/%s", at, files[i]);
		snprintf(to, sizeof to, "%s/%s", at, files[i]);
		if (rename(from, to) != 0)
			return LMQ_ECREATE;
	}
	return rc;
}

static int create(void *argument)
{
	(void)argument;
	if (command) {
		setenv("MQ_STORE", path, 1);
		execvp(*command, command);
		return 126;
	}
	return put_once(path, "killed");
}

static int look(void *argument)
{
	struct desk d;
	int rc = desk_open(&d, argument, 0, 0);
	desk_close(&d);
	return rc == LMQ_ENOENT ? 0 : rc;
}

static int use(void *argument)
{
	char *texts, *own;
	int rc = put_once(argument, "own");
	if (rc != 0)
		return rc;
	texts = stored_texts(argument);
	own = strstr(texts, "own\n");
	need(own && own[4] == '\0', "the store holds \"%s\"", texts);
	need(own == texts || strcmp(texts, "killed\nown\n") == 0, "the store holds \"%s\"", texts);
	free(texts);
	return 0;
}

static bool complete(const char *at)
{
	static const char *const files[] = { MARKER_NAME, "data.mdb" };
	char file[4300];
	struct stat st;
	for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
		snprintf(file, sizeof file, "%s/%s", at, files[i]);
		if (lstat(file, &st) != 0 || st.st_size == 0)
			return false;
	}
	return true;
}

/* Kills a creator at its k-th system call; false if it ended before. */
static bool kill_at(unsigned k)
{
	pid_t pid = traced(create, NULL);
	int status;
	for (unsigned i = 0; i < k; i++)
		if (!step(pid, &status)) {
			need(status == 0, "the creator ended with %d", status);
			return false;
		}
	kill_traced(pid);
	return true;
}

static unsigned kill_creators(void)
{
	unsigned k;
	bool more = true;
	for (k = 1; more; k++) {
		struct stat st;
		more = kill_at(k);
		if (lstat(path, &st) == 0)
			need(complete(path), "a partial store is visible, after %u calls", k);
		need(in_child(look, path) == 0, "the store cannot be opened, after %u calls", k);
		need(in_child(use, path) == 0, "no store can be made any more, after %u calls", k);
		need(lstat(left, &st) != 0, "something was left beside the store, after %u calls", k);
		remove_tree(path);
	}
	return k - 2;
}

/* Half of what LMDB writes in one call, as a kill in the middle of it leaves it behind. */
static void half_written(void)
{
	static const size_t sizes[] = { 0, 1, 512, 4096, 8191 };
	char file[4300];
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		int fd;
		mkdir(left, 0700);
		snprintf(file, sizeof file, "%s/data.mdb", left);
		fd = open(file, O_RDWR | O_CREAT, 0600);
		need(fd >= 0 && ftruncate(fd, (off_t)sizes[i]) == 0, "%s: %s", file, strerror(errno));
		close(fd);
		need(in_child(use, path) == 0, "half a data file is in the way");
		remove_tree(path);
	}
}

static struct turn start;

static int race(void *argument)
{
	unsigned mine = *(unsigned *)argument;
	struct desk d;
	int rc;
	turn_wait(&start);
	rc = desk_open(&d, path, LMQ_CREATE, 0);
	if (rc == 0)
		rc = desk_put(&d, "%u", mine);
	if (rc == 0 && lmq_store_created(d.store))
		rc = 1;
	desk_close(&d);
	return rc;
}

static int count_lines(void *argument)
{
	char *texts = stored_texts(argument);
	int lines = 0;
	for (const char *p = texts; *p; p++)
		lines += *p == '\n';
	free(texts);
	return lines;
}

/* Whether the process stands at an fsync of the directory that the store lies in. */
static bool syncs_parent(pid_t pid)
{
	uint64_t arguments[6];
	char link[64];
	struct stat synced, parent;
	if (call_of(pid, arguments) != SYS_fsync)
		return false;
	snprintf(link, sizeof link, "/proc/%d/fd/%d", pid, (int)arguments[0]);
	return stat(link, &synced) == 0 && stat(directory, &parent) == 0 && synced.st_ino == parent.st_ino &&
		synced.st_dev == parent.st_dev;
}

/* Somebody uses the store before its creator has synced the directory with its name: he must do so himself. */
static void overtaking(void)
{
	pid_t creator = traced(create, NULL), other;
	bool synced = false;
	int status;
	while (!syncs_parent(creator))
		need(step(creator, &status), "the creator ended with %d, and its directory was not synced", status);
	need(complete(path), "the directory was synced before the store was there");
	other = traced(create, NULL);
	while (step(other, &status))
		synced = synced || syncs_parent(other);
	need(status == 0, "who used the store meanwhile ended with %d", status);
	need(synced, "a message was acknowledged in a store whose name may be lost");
	kill_traced(creator);
	remove_tree(path);
}

static void races(void)
{
	for (unsigned i = 0; i < RACES; i++) {
		pid_t pid[RACERS];
		unsigned created = 0;
		for (unsigned j = 0; j < RACERS; j++)
			pid[j] = child(race, &j);
		for (unsigned j = 0; j < RACERS; j++)
			turn_give(&start);
		for (unsigned j = 0; j < RACERS; j++) {
			int status = end_of(pid[j]);
			need(status <= 1, "a racing creator ended with %d", status);
			created += (unsigned)status;
		}
		need(created == 1, "%u processes created the same store", created);
		need(in_child(count_lines, path) == RACERS, "a racing creator's message is lost");
		remove_tree(path);
	}
}

int main(int argc, char **argv)
{
	unsigned killed;
	need(argc > 1, "usage: creating DIRECTORY [in-place] [COMMAND...]");
	directory = argv[1];
	snprintf(path, sizeof path, "%s/store", argv[1]);
	snprintf(left, sizeof left, "%s/.store.new", argv[1]);
	in_place = argc > 2 && strcmp(argv[2], "in-place") == 0;
	command = argc > 2 && !in_place ? argv + 2 : NULL;
	turn_init(&start);
	killed = kill_creators();
	need(killed > LEAST, "only %u system calls were seen", killed);
	printf("%u creators were killed\n", killed);
	half_written();
	if (!in_place && !command)
		overtaking();
	races();
	return 0;
}
