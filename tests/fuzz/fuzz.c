/* SPDX-License-Identifier: ISC */
#include "fuzz.h"

#include "output.h"

#include <setjmp.h>
#include <stdio.h>
#include <unistd.h>

enum { KEPT = 4096, PRINTED = 1 << 20 };

_Noreturn void fuzz_broken(const char *condition, const char *file, int line)
{
	fprintf(stderr, "%s:%d: not so: %s\n", file, line, condition);
	abort();
}

bool fuzz_fault(void)
{
	static int wanted = -1;
	if (wanted < 0)
		wanted = getenv("MQ_FUZZ_FAULT") != NULL;
	return wanted;
}

struct lmq_store *fuzz_store(void)
{
	static lmq_store s;
	s.path = (char *)"store";
	s.directory = s.marker = s.control_fd = s.handling_fd = -1;
	return &s;
}

/* ---- the input ------------------------------------------------------------------------------ */

static void *taken[KEPT];
static size_t taken_count;

void take_begin(struct taker *t, const uint8_t *data, size_t size)
{
	while (taken_count > 0)
		free(taken[--taken_count]);
	*t = (struct taker){ data, data + size };
}

static void *keep(size_t size)
{
	void *room = malloc(size ? size : 1);
	if (!room || taken_count == KEPT)
		abort();
	return taken[taken_count++] = room;
}

uint64_t take_number(struct taker *t, size_t width)
{
	uint64_t v = 0;
	while (width-- > 0)
		v = v << 8 | (t->at < t->end ? *t->at++ : 0);
	return v;
}

struct lmq_bytes take_bytes(struct taker *t, size_t size)
{
	size_t left = (size_t)(t->end - t->at), n = size < left ? size : left;
	char *room = keep(n);
	memcpy(room, t->at, n);
	t->at += n;
	return (struct lmq_bytes){ room, n };
}

static char *take_until(struct taker *t, size_t most, uint8_t stop)
{
	size_t n = 0, left = (size_t)(t->end - t->at);
	char *text;
	while (n < left && n < most && t->at[n] != stop && t->at[n])
		n++;
	text = keep(n + 1);
	memcpy(text, t->at, n);
	text[n] = '\0';
	t->at += n + (n < left && (t->at[n] == stop || !t->at[n]));
	return text;
}

char *take_text(struct taker *t, size_t most)
{
	return take_until(t, most, 0);
}

char *take_line(struct taker *t, size_t most)
{
	return take_until(t, most, '\n');
}

uint8_t *take_rest(struct taker *t, size_t *size)
{
	struct lmq_bytes rest = take_bytes(t, SIZE_MAX);
	*size = rest.size;
	return (uint8_t *)rest.data;
}

/* ---- tools ---------------------------------------------------------------------------------- */

static jmp_buf way_out;
static bool inside, tracking;
static char printed[PRINTED];
static size_t printed_size;
static const char *fed, *fed_end;
static size_t fed_piece;
static void *made[KEPT];		/* NULL: was freed */
static size_t made_count;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__real_reallocarray(void *old, size_t count, size_t size);
char *__real_strdup(const char *text);
void __real_free(void *room);
ssize_t __real_write(int fd, const void *data, size_t size);
ssize_t __real_read(int fd, void *data, size_t size);
_Noreturn void __real_exit(int status);
_Noreturn void __real__exit(int status);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_reallocarray(void *old, size_t count, size_t size);
char *__wrap_strdup(const char *text);
void __wrap_free(void *room);
ssize_t __wrap_write(int fd, const void *data, size_t size);
ssize_t __wrap_read(int fd, void *data, size_t size);
_Noreturn void __wrap_exit(int status);
_Noreturn void __wrap__exit(int status);

static void **slot_of(const void *room)
{
	for (size_t i = made_count; inside && room && i-- > 0;)
		if (made[i] == room)
			return &made[i];
	return NULL;
}

static void *note(void *new)
{
	if (tracking && new && made_count < KEPT)
		made[made_count++] = new;
	return new;
}

void *__wrap_malloc(size_t size)
{
	return note(__real_malloc(size));
}

void *__wrap_calloc(size_t count, size_t size)
{
	return note(__real_calloc(count, size));
}

void *__wrap_realloc(void *old, size_t size)
{
	void **slot = slot_of(old);
	void *new = __real_realloc(old, size);
	if (!slot)
		return note(new);
	if (new)
		*slot = new;
	return new;
}

void *__wrap_reallocarray(void *old, size_t count, size_t size)
{
	return size && count > SIZE_MAX / size ? NULL : __wrap_realloc(old, count * size);
}

char *__wrap_strdup(const char *text)
{
	return note(__real_strdup(text));
}

void __wrap_free(void *room)
{
	void **slot = slot_of(room);
	if (slot)
		*slot = NULL;
	__real_free(room);
}

ssize_t __wrap_write(int fd, const void *data, size_t size)
{
	if (!inside)
		return __real_write(fd, data, size);
	if (fd == STDOUT_FILENO && size <= sizeof printed - printed_size) {
		memcpy(printed + printed_size, data, size);
		printed_size += size;
	}
	return (ssize_t)size;
}

ssize_t __wrap_read(int fd, void *data, size_t size)
{
	size_t left = (size_t)(fed_end - fed);
	if (!inside)
		return __real_read(fd, data, size);
	if (size > left)
		size = left;
	if (size > fed_piece)
		size = fed_piece;
	if (size > 0)
		memcpy(data, fed, size);
	fed += size;
	return (ssize_t)size;
}

_Noreturn void __wrap_exit(int status)
{
	if (inside)
		longjmp(way_out, status + 1);
	__real_exit(status);
}

_Noreturn void __wrap__exit(int status)
{
	if (inside)
		longjmp(way_out, status + 1);
	__real__exit(status);
}

int fuzz_tool(void (*work)(void *argument), void *argument)
{
	int end;
	printed_size = 0;
	inside = tracking = true;
	end = setjmp(way_out);
	if (end == 0)
		work(argument);
	else
		output_flush();	/* what was left there */
	inside = tracking = false;
	while (made_count > 0)
		free(made[--made_count]);
	return end - 1;
}

void fuzz_leave(void)
{
	inside = tracking = false;
}

void fuzz_keep(void)
{
	tracking = false;
}

struct lmq_bytes fuzz_printed(void)
{
	return (struct lmq_bytes){ printed, printed_size };
}

void fuzz_feed(const void *data, size_t size, size_t piece)
{
	fed = data;
	fed_end = fed + size;
	fed_piece = piece ? piece : 1;
}
