/* SPDX-License-Identifier: ISC */
#include "fault.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>

static const struct call failable[] = {
	{ SYS_read, "read", { EIO, EINTR } },
	{ SYS_pread64, "pread", { EIO, EINTR } },
	{ SYS_write, "write", { EIO, ENOSPC, EDQUOT, EINTR, SHORT } },
	{ SYS_pwrite64, "pwrite", { EIO, ENOSPC, EDQUOT, EINTR, SHORT } },
	{ SYS_pwritev, "pwritev", { EIO, ENOSPC, EDQUOT, EINTR } },
	{ SYS_writev, "writev", { EIO, ENOSPC, EDQUOT, EINTR } },
	{ SYS_copy_file_range, "copy_file_range", { EIO, ENOSPC, EDQUOT, EXDEV, SHORT } },
	{ SYS_sendfile, "sendfile", { EIO, ENOSPC, EDQUOT, EINVAL } },
	{ SYS_fsync, "fsync", { EIO, ENOSPC, EDQUOT, EINTR } },
	{ SYS_fdatasync, "fdatasync", { EIO, ENOSPC, EDQUOT, EINTR } },
	{ SYS_msync, "msync", { EIO } },
	{ SYS_syncfs, "syncfs", { EIO, ENOSPC } },
	{ SYS_open, "open", { EMFILE, ENOMEM, EIO, EINTR } },
	{ SYS_openat, "openat", { EMFILE, ENOMEM, EIO, EINTR, ENOSPC, EDQUOT } },
	{ SYS_mmap, "mmap", { ENOMEM, EAGAIN } },
	{ SYS_mremap, "mremap", { ENOMEM } },
	{ SYS_fcntl, "fcntl", { ENOLCK, EINTR, ENOMEM } },
	{ SYS_flock, "flock", { ENOLCK, EINTR, ENOMEM } },
	{ SYS_futex, "futex", { EINTR } },
	{ SYS_fallocate, "fallocate", { ENOSPC, EDQUOT, EIO, EINTR, EOPNOTSUPP } },
	{ SYS_ftruncate, "ftruncate", { EIO, ENOSPC, EINTR } },
	{ SYS_fstat, "fstat", { EIO, ENOMEM } },
	{ SYS_stat, "stat", { EIO, ENOMEM } },
	{ SYS_lstat, "lstat", { EIO, ENOMEM } },
	{ SYS_newfstatat, "fstatat", { EIO, ENOMEM } },
	{ SYS_statfs, "statfs", { EIO, ENOMEM } },
	{ SYS_fstatfs, "fstatfs", { EIO, ENOMEM } },
	{ SYS_faccessat, "faccessat", { EIO, ENOMEM } },
	{ SYS_faccessat2, "faccessat2", { EIO, ENOMEM } },
	{ SYS_getdents64, "getdents", { EIO, ENOMEM } },
	{ SYS_rename, "rename", { EIO, ENOSPC, EDQUOT, ENOMEM } },
	{ SYS_renameat, "renameat", { EIO, ENOSPC, EDQUOT, ENOMEM } },
	{ SYS_renameat2, "renameat2", { EIO, ENOSPC, EDQUOT, ENOMEM } },
	{ SYS_mkdir, "mkdir", { EIO, ENOSPC, EDQUOT, EMLINK } },
	{ SYS_mkdirat, "mkdirat", { EIO, ENOSPC, EDQUOT, EMLINK } },
	{ SYS_unlink, "unlink", { EIO, ENOMEM } },
	{ SYS_unlinkat, "unlinkat", { EIO, ENOMEM } },
	{ SYS_getrandom, "getrandom", { EINTR, SHORT } },
	{ SYS_pidfd_open, "pidfd_open", { EMFILE, ENOMEM, ENOSYS } },
	{ SYS_poll, "poll", { EINTR, ENOMEM } },
	{ SYS_ppoll, "ppoll", { EINTR, ENOMEM } },
	{ SYS_eventfd2, "eventfd", { EMFILE, ENOMEM } },
	{ 449, "futex_waitv", { EINTR, ENOMEM, ENOSYS } },
};

static bool is_wait(uint64_t operation)
{
	operation &= 127;
	return operation == 0 || operation == 9;	/* FUTEX_WAIT, _BITSET */
}

/* Giving a lock back cannot fail, nor can what only sets flags. */
static bool takes_lock(pid_t pid, const uint64_t arguments[6])
{
	long word;
	switch (arguments[1]) {
	case F_SETLK:
	case F_SETLKW:
	case F_OFD_SETLK:
	case F_GETLK:
	case F_OFD_GETLK:
		word = ptrace(PTRACE_PEEKDATA, pid, (void *)(uintptr_t)arguments[2], NULL);
		return (short)word != F_UNLCK;
	default:
		return false;
	}
}

const struct call *call_at(pid_t pid, long *number, uint64_t arguments[6])
{
	*number = call_of(pid, arguments);
	if (*number == SYS_futex && !is_wait(arguments[1]))
		return NULL;
	if ((*number == SYS_fcntl && !takes_lock(pid, arguments)) || (*number == SYS_flock && arguments[1] == LOCK_UN))
		return NULL;
	for (size_t i = 0; i < sizeof failable / sizeof *failable; i++)
		if (failable[i].number == *number)
			return &failable[i];
	return NULL;
}

bool can_fail(const struct call *c, int error)
{
	for (int i = 0; c && i < ERRORS; i++)
		if (c->errors[i] == error)
			return true;
	return false;
}

void fail_call(pid_t pid, int error)
{
	struct user_regs_struct r;
	need(ptrace(PTRACE_GETREGS, pid, NULL, &r) == 0, "ptrace: %s", strerror(errno));
	if (error == SHORT) {
		if (r.orig_rax == SYS_getrandom)
			r.rsi /= 2;
		else
			r.rdx /= 2;
	} else {
		r.orig_rax = (unsigned long long)-1;
	}
	need(ptrace(PTRACE_SETREGS, pid, NULL, &r) == 0, "ptrace: %s", strerror(errno));
	finish_call(pid);
	if (error == SHORT)
		return;
	need(ptrace(PTRACE_GETREGS, pid, NULL, &r) == 0, "ptrace: %s", strerror(errno));
	r.rax = (unsigned long long)-error;
	need(ptrace(PTRACE_SETREGS, pid, NULL, &r) == 0, "ptrace: %s", strerror(errno));
}

const char *error_name(int error)
{
	return error == SHORT ? "short" : strerrorname_np(error);
}

bool lasts(int error)
{
	return error != EINTR && error != SHORT;
}
