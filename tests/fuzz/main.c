/* SPDX-License-Identifier: ISC */
/*
 * TARGET [-m MS] [-r SEED] [-o DIRECTORY] FILE|DIRECTORY...: feeds the target each file; then, for so many milliseconds,
 * files that were changed at random. Where it dies, or takes longer than 10 s, one line names the file, and the command
 * that shows it again; a changed one is written to DIRECTORY. Each input lies right before a page that cannot be read.
 */
#include "fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ROOM = 1 << 20, PATIENCE = 10, FILES = 1024, LONGEST = 8192 };

static const char *program, *findings = ".";
static char current[4096];	/* its name */
static uint8_t *room;		/* ends where the page begins that cannot be read */
static size_t current_size;
static bool changed;		/* it is in no file */
static struct lmq_bytes files[FILES];
static size_t file_count;
static uint64_t random_state = 1;
static unsigned long long count;

static void died(int number)
{
	char line[3 * 4096];
	int size, fd;
	signal(number, SIG_DFL);
	fuzz_leave();
	if (changed) {
		fd = open(current, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
		(void)!write(fd, room + ROOM - current_size, current_size);
		close(fd);
	}
	size = snprintf(line, sizeof line, "%s: signal %d; again: %s %s\n", current, number, program, current);
	(void)!write(STDERR_FILENO, line, (size_t)size);
	_exit(1);
}

static void feed(const void *data, size_t size)
{
	current_size = size;
	memcpy(room + ROOM - size, data, size);
	alarm(PATIENCE);
	LLVMFuzzerTestOneInput(room + ROOM - size, size);
	alarm(0);
	count++;
}

static void feed_file(const char *path)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *data;
	snprintf(current, sizeof current, "%s", path);
	if (fd < 0 || fstat(fd, &st) != 0 || st.st_size > ROOM) {
		fprintf(stderr, "%s: %s\n", path, fd < 0 ? strerror(errno) : "too long");
		exit(2);
	}
	data = malloc((size_t)st.st_size + 1);
	if (!data || read(fd, data, (size_t)st.st_size) != st.st_size)
		exit(2);
	close(fd);
	feed(data, (size_t)st.st_size);
	if (file_count < FILES && st.st_size < LONGEST)
		files[file_count++] = (struct lmq_bytes){ data, (size_t)st.st_size };
	else
		free(data);
}

static void feed_all(const char *path)
{
	struct dirent **list;
	char file[4096];
	int n = scandir(path, &list, NULL, alphasort);
	if (n < 0)
		feed_file(path);
	for (int i = 0; i < n; i++) {
		snprintf(file, sizeof file, "%s/%s", path, list[i]->d_name);
		if (*list[i]->d_name != '.')
			feed_file(file);
		free(list[i]);
	}
	if (n >= 0)
		free(list);
}

/* ---- changed at random ------------------------------------------------------------------------ */

static size_t draw(size_t below)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return below ? (size_t)(random_state >> 11) % below : 0;
}

/* In one place: a byte, a bit, a piece that is left out, doubled, or taken from another file. */
static size_t change(uint8_t *data, size_t size)
{
	static const uint8_t words[] = { 0, 1, 0x7f, 0x80, 0xff, '\n', ' ', '"', '*', '-', '9', '{', '%', '.' };
	const struct lmq_bytes *other = &files[draw(file_count)];
	size_t at = draw(size + 1), n = draw(draw(8) ? 8 : 200) + 1, from;
	switch (draw(5)) {
	case 0:
		if (at < size)
			data[at] = words[draw(sizeof words)];
		return size;
	case 1:
		if (at < size)
			data[at] ^= (uint8_t)(1u << draw(8));
		return size;
	case 2:
		n = n < size - at ? n : size - at;
		memmove(data + at, data + at + n, size - at - n);
		return size - n;
	case 3:
		n = n < size - at ? n : size - at;
		if (size + n > LONGEST)
			return size;
		memmove(data + at + n, data + at, size - at);
		return size + n;
	default:
		from = draw(other->size);
		n = n < other->size - from ? n : other->size - from;
		if (at + n > LONGEST)
			return size;
		memcpy(data + at, other->data + from, n);
		return at + n > size ? at + n : size;
	}
}

static void feed_changed(long ms, uint64_t seed)
{
	static uint8_t data[LONGEST];
	int64_t end = lmq_now() + ms * INT64_C(1000000);
	const char *name = strrchr(program, '/');
	random_state = seed * UINT64_C(0x9e3779b97f4a7c15) | 1;
	snprintf(current, sizeof current, "%s/%s-%llu", findings, name ? name + 1 : program, (unsigned long long)seed);
	changed = true;
	for (unsigned i = 0; i % 64 || lmq_now() < end; i++) {
		const struct lmq_bytes *f = &files[draw(file_count)];
		size_t size = f->size;
		memcpy(data, f->data, size);
		for (size_t n = draw(6) + 1; n > 0; n--)
			size = change(data, size);
		feed(data, size);
	}
}

static void catch_deaths(void)
{
	static const int numbers[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGALRM };
	for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
#ifdef __SANITIZE_ADDRESS__
		if (numbers[i] == SIGABRT || numbers[i] == SIGALRM)	/* the others it reports itself */
#endif
			signal(numbers[i], died);
}

int main(int argc, char **argv)
{
	uint64_t seed = 1;
	long ms = 0;
	int option;
	program = argv[0];
	while ((option = getopt(argc, argv, "m:r:o:")) != -1)
		if (option == 'm')
			ms = atol(optarg);
		else if (option == 'r')
			seed = strtoull(optarg, NULL, 10);
		else if (option == 'o')
			findings = optarg;
		else
			return 2;
	room = mmap(NULL, ROOM + 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (room == MAP_FAILED || mprotect(room + ROOM, 65536, PROT_NONE) != 0)
		return 2;
	catch_deaths();
	for (; optind < argc; optind++)
		feed_all(argv[optind]);
	if (ms > 0 && file_count > 0)
		feed_changed(ms, seed);
	while (file_count > 0)
		free((void *)files[--file_count].data);
	printf("%llu\n", count);
	return count > 0 ? 0 : 2;
}
