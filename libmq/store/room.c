/* SPDX-License-Identifier: ISC */
/*
 * Why a write ended early.
 *
 * LMDB calls it an input/output error when the kernel writes only a part of what it was given. Mostly it is none: the
 * disk, a quota or the limit on the size of a file had room for that part. So before such an error is believed, as much
 * as LMDB writes at once is allocated behind the end of that very file, and given back. What had no room then has none
 * now. Nothing is written and nobody looks there; a kill in between leaves a file that is a little longer.
 */
#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { AT_ONCE = 64 * 4096 };

static bool is_room(int error)
{
	return error == ENOSPC || error == EDQUOT || error == EFBIG;
}

int room_error(int fd, int error)
{
	struct stat st;
	int rc;
	if (error != EIO || fstat(fd, &st) != 0)
		return error;
	rc = posix_fallocate(fd, st.st_size, AT_ONCE);
	take_pending(SIGXFSZ);
	/* Where it cannot be given back the file is longer than it need be. */
	(void)!ftruncate(fd, st.st_size);
	return is_room(rc) ? rc : error;
}
