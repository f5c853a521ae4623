/* SPDX-License-Identifier: ISC */
/*
 * Saving what is left of a damaged store.
 *
 * Everything that can be read and has the right checksum is copied, key by key, into a new store that is built beside its
 * place (wreck.c). There each value is right by itself, and LMDB can be used; what is missing is seen by what the others
 * say of it, and mended until all of it agrees: a message that is named and not there is lost, and is settled or becomes
 * a hole; a name, a record or a position that is lost is made from what depends on it; indexes and counters follow from
 * what they index and count. Offsets never change, and are never given to another message: where an end is not
 * known, it is put far behind everything that is known.
 *
 * The old store is only read. Its gate is held meanwhile, so that nobody opens it. The new one has its name when it is
 * complete and on stable storage; a kill before leaves the directory beside, which the next attempt clears.
 */
#include "rescue.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CHANGES_MOST = 4096, BYTES_MOST = 4 << 20 };

/* ---- the new store -------------------------------------------------------------------------- */

int rescue_no_memory(struct rescue *r)
{
	return fail(r->s, LMQ_ENOMEM, "%s: out of memory", r->s->path);
}

void rescue_say(struct rescue *r, const char *object, const char *format, ...)
{
	struct lmq_fault f;
	va_list arguments;
	snprintf(f.object, sizeof f.object, "%s", object);
	va_start(arguments, format);
	vsnprintf(f.what, sizeof f.what, format, arguments);
	va_end(arguments);
	if (r->loss)
		r->loss(&f, r->context);
}

void *rescue_room(void *list, size_t count, size_t *room, size_t size)
{
	size_t more = *room ? 2 * *room : 64;
	if (count < *room)
		return list;
	list = reallocarray(list, more, size);
	if (list)
		*room = more;
	return list;
}

static int begin(struct rescue *r)
{
	int rc = r->open ? 0 : txn_begin(r->to, &r->t);
	r->open = rc == 0;
	return rc;
}

int rescue_ask(struct rescue *r)
{
	if (r->progress && !r->progress(r->result, r->context))
		return fail(r->s, LMQ_EINTR, "%s: the repair was ended", r->s->path);
	return 0;
}

static int commit(struct rescue *r)
{
	int rc = r->open ? txn_commit(&r->t, LMQ_SYNC_RELAXED) : 0;
	r->open = false;
	r->changes = 0;
	r->bytes = 0;
	return rc == 0 ? rescue_ask(r) : rc;
}

int rescue_tick(struct rescue *r, size_t bytes)
{
	int rc = 0;
	r->bytes += bytes;
	if (++r->changes >= CHANGES_MOST || r->bytes >= BYTES_MOST) {
		rc = commit(r);
		if (rc == 0)
			rc = begin(r);
	}
	return rc;
}

int rescue_get(struct rescue *r, const struct key *k, MDB_val *value)
{
	return get_value(r->to, r->t.mdb, k, value);
}

bool rescue_has(struct rescue *r, struct key k)
{
	MDB_val v;
	return rescue_get(r, &k, &v) == 0;
}

int rescue_put(struct rescue *r, const struct key *k, const void *value, size_t size)
{
	int rc = put_value(&r->t, k, value, size);
	return rc == 0 ? rescue_tick(r, size) : rc;
}

int rescue_delete(struct rescue *r, const struct key *k)
{
	int rc = delete_key(&r->t, k);
	return rc == 0 ? rescue_tick(r, 0) : rc;
}

int rescue_put_head(struct rescue *r, uint32_t id, uint16_t lane, const struct head_record *h)
{
	int rc = put_head(&r->t, id, lane, h);
	return rc == 0 ? rescue_tick(r, HEAD_RECORD) : rc;
}

int rescue_put_group(struct rescue *r, uint32_t id, uint16_t lane, const char *group, const struct group_record *g)
{
	int rc = put_group(&r->t, id, lane, group, g);
	return rc == 0 ? rescue_tick(r, GROUP_RECORD) : rc;
}

int rescue_next(struct rescue *r, struct key *at, size_t size, bool first, MDB_val *value)
{
	struct key from = *at;
	if (!first)
		from.bytes[from.size++] = 0;
	return find_key(&r->t, &from, size, at, value);
}

/* ---- mending -------------------------------------------------------------------------------- */

static int mend_channel(struct rescue *r, uint32_t id, struct channel_record *c)
{
	int rc = mend_ends(r, id, c);
	if (rc == 0)
		rc = mend_groups(r, id, c);
	if (rc == 0)
		rc = mend_lanes(r, id, c);
	return rc == 0 ? mend_floors(r, id, c) : rc;
}

static int mend_channels(struct rescue *r)
{
	struct key k = key_channel(0);
	struct channel_record c;
	MDB_val v;
	int rc;
	for (bool first = true; (rc = rescue_next(r, &k, 1, first, &v)) == 0; first = false) {
		if (k.size != RUN_PREFIX || !channel_record_get(&c, &k, v.mv_data, v.mv_size))
			continue;
		rc = mend_channel(r, get32(k.bytes + 1), &c);
		if (rc != 0)
			return rc;
		r->result->channels++;
	}
	return rc == LMQ_END ? 0 : rc;
}

static int mend(struct rescue *r)
{
	int rc = mend_store(r);
	if (rc == 0)
		rc = mend_catalogue(r);
	if (rc == 0)
		rc = mend_channels(r);
	if (rc == 0)
		rc = mend_strays(r);
	return rc == 0 ? commit(r) : rc;
}

static int save(struct rescue *r)
{
	int rc = begin(r);
	if (rc == 0)
		rc = wreck_copy(r);
	if (rc == 0 && r->entries == 0)
		rc = fail(r->s, LMQ_EFORMAT, "%s: nothing in data.mdb can be read", r->s->path);
	if (rc == 0)
		rc = mend(r);
	if (r->open)
		txn_abort(&r->t);
	r->open = false;
	return rc;
}

/* ---- where ---------------------------------------------------------------------------------- */

/* To ask whether others use the store would give up the lock of a handle that this process has of it. */
static int open_directory(lmq_store *s)
{
	struct stat st;
	s->directory = open(s->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (s->directory < 0)
		return errno == ENOENT || errno == ENOTDIR ? fail(s, LMQ_ENOENT, "%s: not a store", s->path) :
			fail_errno(s, s->path, errno);
	s->marker = openat(s->directory, MARKER_NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fstat(s->directory, &st) != 0)
		return fail_errno(s, s->path, errno);
	s->device = st.st_dev;
	s->inode = st.st_ino;
	return store_list(s);
}

/* Behind the gate, as far as there is one: who compacted the store meanwhile has put another file there. */
static int open_data(lmq_store *s, int *fd)
{
	struct stat st;
	*fd = openat(s->directory, "data.mdb", O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (*fd < 0)
		return errno == ENOENT ? fail(s, LMQ_ENOENT, "%s: there is no data.mdb", s->path) :
			fail_errno(s, s->path, errno);
	if (fstat(*fd, &st) != 0)
		return fail_errno(s, s->path, errno);
	return S_ISREG(st.st_mode) ? 0 : fail(s, LMQ_EACCES, "%s: data.mdb is not a regular file", s->path);
}

static int hold(lmq_store *s)
{
	int rc = s->marker >= 0 ? gate_lock(s) : 0;
	if (rc != 0 || !control_in_use(s))
		return rc;
	fail(s, LMQ_EBUSY, "%s: the store is in use", s->path);
	fail_hint(s, "end the programs that use it, then try again");
	return LMQ_EBUSY;
}

/* The store in the directory beside. Sentences call it by the name that it will have. */
static int open_new(struct rescue *r, const char *destination, const struct site *site)
{
	int rc = store_handle(destination, NULL, &r->to);
	if (rc != 0)
		return rescue_no_memory(r);
	r->to->directory = fcntl(site->directory, F_DUPFD_CLOEXEC, 0);
	if (r->to->directory < 0)
		return fail_errno(r->to, destination, errno);
	rc = store_enter(r->to);
	return rc == 0 ? store_reopen(r->to) : rc;
}

static int fill(struct rescue *r, lmq_store *d, const struct site *site)
{
	int rc = open_new(r, d->path, site);
	if (rc != 0)
		return rc;
	mdb_env_set_flags(r->to->env, MDB_NOSYNC, 1);
	rc = save(r);
	if (rc == 0 && (rc = mdb_env_sync(r->to->env, 1)) != 0)
		rc = fail_lmdb(r->to, d->path, rc);
	return rc;
}

static int build(struct rescue *r, lmq_store *d, const char *destination)
{
	struct site site = { .parent = -1, .directory = -1 };
	int rc = site_open(d, destination, &site);
	if (rc == 0)
		rc = site_vacant(d, &site);
	if (rc == 0)
		rc = site_lock(d, &site);
	if (rc == 0)
		rc = store_build(d, &site, r->uuid_known ? r->uuid : NULL);
	if (rc != 0)
		r->s->error = d->error;
	if (rc == 0 && (rc = fill(r, d, &site)) != 0 && r->to && !*r->s->error.sentence)
		r->s->error = r->to->error;
	lmq_store_close(r->to);
	if (rc == 0 && (rc = fsync(site.directory) != 0 ? site_fail(d, errno) : site_publish(d, &site)) != 0)
		r->s->error = d->error;
	site_close(d, &site, rc);
	return rc == LMQ_EEXIST ? fail(r->s, LMQ_ECREATE, "%s: there is a store already", destination) : rc;
}

int lmq_store_repair(const char *path, const char *destination, lmq_store **store, struct lmq_rescue *rescue,
	void (*loss)(const struct lmq_fault *loss, void *context),
	bool (*progress)(const struct lmq_rescue *sofar, void *context), void *context)
{
	const struct lmq_store_options options = { .size = sizeof options, .flags = LMQ_READ_ONLY };
	struct rescue r = { .result = rescue, .loss = loss, .progress = progress, .context = context };
	lmq_store *d = NULL;
	int fd = -1, rc = store_handle(path, &options, store);
	*rescue = (struct lmq_rescue){ .channels = 0 };
	r.s = *store;
	if (rc == 0)
		rc = open_directory(r.s);
	if (rc == 0)
		rc = inspect_owner(r.s, r.s->directory);
	if (rc == 0)
		rc = hold(r.s);
	if (rc == 0)
		rc = open_data(r.s, &fd);
	if (rc == 0)
		rc = wreck_open(&r, fd);
	if (rc == 0 && (rc = store_handle(destination, NULL, &d)) != 0)
		rc = fail(r.s, rc, "%s: out of memory", destination);
	if (rc == 0)
		rc = build(&r, d, destination);
	lmq_store_close(d);
	wreck_close(&r);
	if (fd >= 0)
		close(fd);
	return rc;
}
