/* SPDX-License-Identifier: ISC */
#include "work.h"
#include "judge.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

struct work works[WORKS];
unsigned work_count;
struct recording *recorded_now;
int64_t recorded_time = INT64_C(1767225600000000000);
static const struct trial *trial;
static bool relaxed, no_poison;
static char root[4096], path[4200];

static bool may_fail;

/* As the writer that believes that nothing happened. */
static void forget_poison(void)
{
	char control[4300];
	int fd;
	snprintf(control, sizeof control, "%s/control", path);
	fd = (int)syscall(SYS_openat, AT_FDCWD, control, O_RDWR);
	need(fd >= 0, "%s: %s", control, strerror(errno));
	need(syscall(SYS_pwrite64, fd, &(uint32_t){ 0 }, 4, offsetof(struct control, poison)) == 4, "pwrite");
	syscall(SYS_close, fd);
}

static void told(int rc, uint64_t next)
{
	if (rc == STORY_CREATED)
		record_mark(ENTRY_CREATED, 0);
	else if (rc == 0)
		record_mark(ENTRY_ACKNOWLEDGED, next);
	else if (rc != LMQ_EUNKNOWN)
		record_mark(ENTRY_UNDONE, 0);
	need(rc >= 0 || may_fail, "the work ended with %s", lmq_strerror(rc));
	if (rc < 0 && no_poison)
		forget_poison();
}

static int prepare(void *argument)
{
	const struct work *w = argument;
	const char *archive = NULL;
	char command[16384];
	for (char **word = trial->words; *word; word++)
		if (strncmp(*word, "old=", 4) == 0)
			archive = *word + 4;
	if (w->story->old) {
		snprintf(command, sizeof command, "tar -xzf '%.2000s' -C '%s' && mv '%s/s' '%s'", archive, root, root,
			path);
		return system(command) == 0 ? 0 : 1;
	}
	recorded_now = shared_memory(sizeof *recorded_now);	/* for the clock, and what is random */
	story_prepare(w->story, path);
	return 0;
}

/* The state that it begins with. */
static uint64_t first_digest(void)
{
	struct lmq_store_options o = { sizeof o, LMQ_READ_ONLY, 0 };
	uint64_t digest;
	lmq_store *s;
	MDB_txn *t;
	need(lmq_store_open(path, &o, &s) == 0 && mdb_txn_begin(s->env, NULL, MDB_RDONLY, &t) == 0,
		"the prepared store: %s", lmq_error(s));
	digest = store_digest(t);
	mdb_txn_abort(t);
	lmq_store_close(s);
	return digest;
}

static int tell(void *argument)
{
	const struct work *w = argument;
	bool there = w->story->before || w->story->old;
	uint64_t digest = there ? first_digest() : 0;
	recorded_now = w->record;
	recorded_time += INT64_C(3600000) * MS;
	w->record->how = w->how;
	may_fail = w->faults > 0;
	record_begin(w->record, root);
	if (there) {
		record_mark(ENTRY_ATTEMPTED, digest);
		record_mark(ENTRY_COMMITTED, true);
		record_mark(ENTRY_ACKNOWLEDGED, 0);
	}
	w->record->first_fault = w->record->calls + w->first_fault;
	w->record->faults = w->faults;
	story_tell(w->story, path, relaxed ? LMQ_SYNC_RELAXED : LMQ_SYNC_FULL, told);
	return 0;
}

/* Done again, it is the same again. */
static struct work *record_work(struct work w)
{
	struct recording *r = shared_memory(RECORD_ROOM_MAX);
	size_t size;
	need(work_count < WORKS, "too many recordings");
	seed = image_mix((uint64_t)(w.story - stories), 7);
	remove_tree(root);
	need(mkdir(root, 0700) == 0, "%s: %s", root, strerror(errno));
	w.record = r;
	r->no_directory_sync = trial_word(trial, "no-directory-sync");
	need(in_child(prepare, &w) == 0 && in_child(tell, &w) == 0, "%s: the work failed", w.story->name);
	size = sizeof *r + r->used;
	w.record = malloc(size);
	need(w.record, "out of memory");
	memcpy(w.record, r, size);
	munmap(r, RECORD_ROOM_MAX);
	works[work_count] = w;
	return &works[work_count++];
}

static bool wanted(const struct story *s)
{
	bool any = false, old = false;
	for (unsigned i = 0; i < story_count; i++)
		any |= trial_word(trial, stories[i].name);
	for (char **word = trial->words; *word; word++)
		old |= strncmp(*word, "old=", 4) == 0;
	if (s->old && !old)
		return false;
	return any ? trial_word(trial, s->name) : true;
}

static void record_faults(const struct story *s, uint64_t calls)
{
	for (uint64_t k = 0; k < calls; k++) {
		for (uint8_t how = 0; how < FAULTS; how++)
			record_work((struct work){ .story = s, .first_fault = k, .faults = 1, .how = how });
		record_work((struct work){ .story = s, .first_fault = k, .faults = 3, .how = FAULT_WRITTEN });
	}
}

void works_record(const struct trial *t)
{
	bool only = trial_word(t, "faults");
	trial = t;
	relaxed = trial_word(t, "relaxed");
	no_poison = trial_word(t, "no-poison");
	snprintf(root, sizeof root, "%s/work", t->place);
	snprintf(path, sizeof path, "%s/store", root);
	for (unsigned i = 0; i < story_count; i++) {
		const struct story *s = &stories[i];
		uint64_t calls;
		if (!wanted(s) || (only && !s->faults))
			continue;
		calls = record_work((struct work){ .story = s })->record->calls;
		if (s->faults && !relaxed && !trial_word(t, "nosync") && !trial_word(t, "early"))
			record_faults(s, calls);
	}
}
