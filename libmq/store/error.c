/* SPDX-License-Identifier: ISC */
/* The closed set of statuses, and the one sentence of context that a failing call leaves. */
#include "store.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *lmq_version(void)
{
	return LMQ_VERSION;
}

const char *lmq_strerror(int status)
{
	static const char *const words[] = {
		[-LMQ_OK] = "done",
		[-LMQ_END] = "nothing there",
		[-LMQ_ETIME] = "the deadline passed",
		[-LMQ_EINTR] = "interrupted",
		[-LMQ_EINVAL] = "not valid",
		[-LMQ_EDATA] = "not a valid message",
		[-LMQ_ENOENT] = "does not exist",
		[-LMQ_EEXIST] = "exists already",
		[-LMQ_EKIND] = "another kind of channel",
		[-LMQ_ECREATE] = "cannot be created",
		[-LMQ_EIO] = "input or output failed",
		[-LMQ_EUNKNOWN] = "outcome unknown",
		[-LMQ_ENOSPC] = "no space left on the disk",
		[-LMQ_EFULL] = "full",
		[-LMQ_EBUSY] = "held by another process",
		[-LMQ_EACCES] = "no permission",
		[-LMQ_EFORMAT] = "unsuitable format or filesystem",
		[-LMQ_EDAMAGED] = "damaged",
		[-LMQ_ENOMEM] = "out of memory",
		[-LMQ_ESYSTEM] = "the operating system refused",
		[-LMQ_EGONE] = "was removed",
		[-LMQ_EFORK] = "used after fork",
		[-LMQ_ELIMIT] = "more than one transaction takes",
		[-LMQ_EBUG] = "a bug of the library",
		[-LMQ_ELOST] = "the lease was lost",
		[-LMQ_ECONFLICT] = "somebody else was faster",
	};
	size_t i = (size_t)-(long)status;
	return status <= 0 && i < sizeof words / sizeof *words ? words[i] : "an unknown status";
}

const char *lmq_error(const lmq_store *s)
{
	return s ? s->error.sentence : "out of memory";
}

const char *lmq_hint(const lmq_store *s)
{
	return s ? s->error.hint : "";
}

/* Of one that is too long, as a path may be, the begin is left out: what is wrong stands at its end. */
int fail(lmq_store *s, int status, const char *format, ...)
{
	enum { MOST = sizeof s->error.sentence - 1 };
	char text[2 * PATH_MAX];
	size_t size;
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	size = strlen(text);
	if (size > MOST)
		memcpy(text + size - MOST, "...", 3);
	strcpy(s->error.sentence, size > MOST ? text + size - MOST : text);
	s->error.hint[0] = '\0';
	return status;
}

void fail_hint(lmq_store *s, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(s->error.hint, sizeof s->error.hint, format, arguments);
	va_end(arguments);
}

int fail_errno(lmq_store *s, const char *object, int error)
{
	switch (error) {
	case ENOSPC:
		return fail(s, LMQ_ENOSPC, "%s: the disk is full", object);
	case EDQUOT:
		return fail(s, LMQ_ENOSPC, "%s: the disk quota is used up", object);
	case EFBIG:
		return fail(s, LMQ_ENOSPC, "%s: the limit on the size of a file is reached", object);
	case EIO:
		return fail(s, LMQ_EIO, "%s: input/output error", object);
	case ENOENT:
		return fail(s, LMQ_ENOENT, "%s: no such store", object);
	case EACCES:
	case EPERM:
	case EROFS:
		return fail(s, LMQ_EACCES, "%s: %s", object,
			error == EROFS ? "the filesystem is read-only" : "permission denied");
	case ENOMEM:
		return fail(s, LMQ_ENOMEM, "%s: out of memory", object);
	default:
		return fail(s, LMQ_ESYSTEM, "%s: %s", object, strerror(error));
	}
}

int fail_lmdb(lmq_store *s, const char *object, int rc)
{
	switch (rc) {
	case MDB_MAP_FULL:
		return fail(s, LMQ_EFULL, "%s: the store has no room left in its map", object);
	case MDB_MAP_RESIZED:
		return fail(s, LMQ_ENOMEM, "%s: the store is larger than this process may map", object);
	case MDB_READERS_FULL:
		return fail(s, LMQ_EBUSY, "%s: too many processes read the store at once", object);
	case MDB_TXN_FULL:
		return fail(s, LMQ_ELIMIT, "%s: more than one transaction takes", object);
	case MDB_VERSION_MISMATCH:
		return fail(s, LMQ_EFORMAT, "%s: data file of another version of LMDB", object);
	case MDB_CORRUPTED:
	case MDB_PAGE_NOTFOUND:
	case MDB_INVALID:
	case MDB_PANIC:
	case MDB_BAD_TXN:
	case MDB_INCOMPATIBLE:
		return fail_damaged(s, mdb_strerror(rc));
	default:
		if (rc > 0)
			return fail_errno(s, object, rc);
		return fail(s, LMQ_EBUG, "%s: %s", object, mdb_strerror(rc));
	}
}

int fail_damaged(lmq_store *s, const char *what)
{
	return fail(s, LMQ_EDAMAGED, "%s: the store is damaged: %s", s->path, what);
}
