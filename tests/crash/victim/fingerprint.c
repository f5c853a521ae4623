/* SPDX-License-Identifier: ISC */
#include "fingerprint.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static uint64_t mix_file(int directory, const char *name, const struct stat *st)
{
	static const uint8_t zero[16];
	int64_t facts[] = { st->st_mode, st->st_uid, st->st_size, st->st_mtim.tv_sec, st->st_mtim.tv_nsec };
	struct hash_state h;
	char bytes[4096];
	ssize_t n;
	int fd = S_ISREG(st->st_mode) ? openat(directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
	hash_begin(&h, zero);
	hash_add(&h, name, strlen(name));
	hash_add(&h, facts, sizeof facts);
	while (fd >= 0 && (n = read(fd, bytes, sizeof bytes)) > 0)
		hash_add(&h, bytes, (size_t)n);
	if (fd >= 0)
		close(fd);
	return hash_end(&h);
}

uint64_t fingerprint(int parent, const char *path)
{
	uint64_t sum = 0;
	struct dirent *e;
	struct stat st;
	DIR *d = fdopendir(openat(parent, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	need(d, "%s: %s", path, strerror(errno));
	while ((e = readdir(d))) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		need(fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0, "%s: %s", e->d_name, strerror(errno));
		sum += S_ISDIR(st.st_mode) ? 3 * fingerprint(dirfd(d), e->d_name) : mix_file(dirfd(d), e->d_name, &st);
	}
	closedir(d);
	return sum;
}
