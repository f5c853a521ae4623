/* SPDX-License-Identifier: ISC */
/*
 * Templates: text with fields of the message in it, compiled once into a list of parts.
 *
 * %[-][WIDTH][.MOST][{ARGUMENT}]LETTER. Widths count characters and are for what is short text; a body or
 * JSON of any size goes straight to the output.
 */
#include "cmd.h"
#include "output.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { WIDTH_MAX = 9999, TIME_FORMAT_MAX = 200 };

struct part {
	char letter;		/* '\0': text as it is */
	bool left;
	unsigned width;
	unsigned most;		/* characters; UINT_MAX: all */
	enum body_form body;	/* %b */
	char *text;		/* or the argument in braces; NULL: none */
	size_t size;
};

struct template {
	size_t count;
	struct part parts[];
};

#define EVERYTHING (~0u)

static const char letters[] = "bkcoPsapliTuhjrO";
static const char spelled[] =
	"%b %k %c %o %P %s %a %p %l %i %T %u %h %j %r %O %% %{FMT}T %{NAME}h %{json}b %{hex}b %{base64}b";

static void *allocate(size_t size)
{
	void *room = calloc(1, size);

	if (room == NULL)
		die(EXIT_SYSTEM, "out of memory");
	return room;
}

/* ---- compiling -------------------------------------------------------------------------------- */

_Noreturn static void die_template(const char *text, const char *at, const char *what)
{
	size_t size = 1 + strcspn(at + 1, " %\\");

	die_usage("--format: position %zu: '%.*s' %s", (size_t)(at - text) + 1,
		size < 40 ? (int)size : 40, at, what);
}

static unsigned number_read(const char **at)
{
	unsigned number = 0;

	while (**at >= '0' && **at <= '9' && number <= WIDTH_MAX)
		number = number * 10 + (unsigned)(*(*at)++ - '0');
	return number;
}

static enum body_form body_form_named(const char *text, const char *at, const char *name)
{
	static const struct { const char *name; enum body_form form; } known[] = {
		{ "json", BODY_JSON }, { "hex", BODY_HEX }, { "base64", BODY_BASE64 },
	};

	for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
		if (strcmp(known[i].name, name) == 0)
			return known[i].form;
	}
	die_template(text, at, "is none of %{json}b %{hex}b %{base64}b");
}

/* Refuses what does not go together. */
static void part_check(struct part *part, const char *text, const char *at)
{
	bool sized = part->width > 0 || part->most != EVERYTHING;

	if (part->letter == '\0' || strchr(letters, part->letter) == NULL) {
		char what[sizeof spelled + 16];

		snprintf(what, sizeof what, "is none of %s", spelled);
		die_template(text, at, what);
	}
	if (part->width > WIDTH_MAX || (part->most != EVERYTHING && part->most > WIDTH_MAX))
		die_template(text, at, "has a width above 9999");
	if (part->text != NULL && strchr("bhT", part->letter) == NULL)
		die_template(text, at, "takes no argument in braces");
	if (part->text != NULL && part->letter == 'b')
		part->body = body_form_named(text, at, part->text);
	if (part->letter == 'T' && part->size > TIME_FORMAT_MAX)
		die_template(text, at, "has a time format above 200 bytes");
	if (sized && (part->letter == 'j' || (part->letter == 'h' && part->text == NULL) ||
	    part->body != BODY_PLAIN))
		die_template(text, at, "takes no width");
}

/* Reads a field from its % on; returns behind it. */
static const char *field_read(struct part *part, const char *text, const char *percent)
{
	const char *at = percent + 1;

	part->left = *at == '-';
	if (part->left)
		at++;
	part->width = number_read(&at);
	part->most = EVERYTHING;
	if (*at == '.') {
		at++;
		part->most = number_read(&at);
	}
	if (*at == '{') {
		part->size = strcspn(++at, "}");
		if (at[part->size] == '\0')
			die_template(text, percent, "has no closing brace");
		part->text = allocate(part->size + 1);
		memcpy(part->text, at, part->size);
		at += part->size + 1;
	}
	part->letter = *at;
	part_check(part, text, percent);
	return at + 1;
}

/* Reads text up to the next field; returns behind it. */
static const char *literal_read(struct part *part, const char *text, const char *at)
{
	part->text = allocate(strlen(at) + 1);
	while (*at != '\0' && (*at != '%' || at[1] == '%')) {
		const char *begin = at;
		int byte = (unsigned char)*at++;

		if (byte == '\\')
			byte = escape_read(&at);
		else if (byte == '%')
			at++;
		if (byte < 0)
			die_template(text, begin, "is none of \\n \\t \\0 \\\\ \\xHH");
		part->text[part->size++] = (char)byte;
	}
	return at;
}

/* A field and text on either side take at least two bytes of the template. */
struct template *template_compile(const char *text)
{
	struct template *template = allocate(sizeof *template + (strlen(text) + 1) * sizeof(struct part));

	for (const char *at = text; *at != '\0'; ) {
		struct part *part = &template->parts[template->count++];

		if (*at == '%' && at[1] != '%')
			at = field_read(part, text, at);
		else
			at = literal_read(part, text, at);
	}
	return template;
}

/* ---- writing ---------------------------------------------------------------------------------- */

static int spaces_write(unsigned count)
{
	static const char spaces[] = "                                ";

	while (count > 0) {
		unsigned part = count < sizeof spaces - 1 ? count : sizeof spaces - 1;

		if (output_bytes(spaces, part) != 0)
			return OUTPUT_FAILED;
		count -= part;
	}
	return 0;
}

/* Writes a value as wide as the field wants it. On a terminal its control bytes are escaped. */
static int value_write(const struct part *part, const struct form *form, const char *data, size_t size)
{
	enum body_form shape = form->escape ? BODY_SHOWN : BODY_PLAIN;
	unsigned most = part->most != EVERYTHING ? part->most : part->width;
	unsigned shown = 0, gap;
	size_t at = 0;

	for (; at < size && shown < most; shown++)
		at += utf8_step(data + at, size - at);
	if (part->most != EVERYTHING)
		size = at;
	gap = part->width > shown ? part->width - shown : 0;
	if (!part->left && spaces_write(gap) != 0)
		return OUTPUT_FAILED;
	if (bytes_write(shape, data, size) != 0)
		return OUTPUT_FAILED;
	return part->left ? spaces_write(gap) : 0;
}

static int text_value_write(const struct part *part, const struct form *form, struct lmq_bytes text)
{
	return value_write(part, form, text.data, text.size);
}

static int number_write(const struct part *part, const struct form *form, uint64_t number)
{
	char text[20];

	return value_write(part, form, text, (size_t)(decimal_put(text, number) - text));
}

/* The format is the user's own, which the compiler cannot check. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
static size_t local_time(char *text, size_t size, const char *format, int64_t second)
{
	time_t t = (time_t)second;
	struct tm tm;

	return localtime_r(&t, &tm) != NULL ? strftime(text, size, format, &tm) : 0;
}
#pragma GCC diagnostic pop

static int64_t second_of(int64_t time)
{
	return time / 1000000000 - (time % 1000000000 < 0);
}

static int time_write(const struct part *part, const struct form *form, int64_t time)
{
	char text[1024];
	size_t size;

	if (part->text != NULL)
		size = local_time(text, sizeof text, part->text, second_of(time));
	else
		size = (size_t)(time_put(text, time) - text);
	return value_write(part, form, text, size);
}

static int epoch_write(const struct part *part, const struct form *form, int64_t time)
{
	int64_t second = second_of(time);
	char text[24] = "-";

	if (second >= 0)
		return number_write(part, form, (uint64_t)second);
	return value_write(part, form, text, (size_t)(decimal_put(text + 1, -(uint64_t)second) - text));
}

static int header_write(const struct part *part, const struct form *form,
	const struct lmq_message *message)
{
	if (part->text == NULL)
		return headers_write(message);
	for (size_t i = 0; i < message->header_count; i++) {
		const struct lmq_header *header = &message->headers[i];

		if (header->name.size == part->size &&
		    memcmp(header->name.data, part->text, part->size) == 0)
			return text_value_write(part, form, header->value);
	}
	return value_write(part, form, "", 0);
}

/* Its beginning is enough where it is cut, and where it is padded: what is larger needs no padding. */
static int body_part_write(const struct part *part, const struct form *form,
	const struct lmq_message *message, const struct body_source *source)
{
	static char begin[4 * (WIDTH_MAX + 1)];
	size_t got;
	int status;

	if (part->body == BODY_JSON) {
		if (output_bytes("\"", 1) != 0)
			return OUTPUT_FAILED;
		status = body_write(BODY_JSON_ANY, message, source);
		return status != 0 ? status : output_bytes("\"", 1);
	}
	if (part->body != BODY_PLAIN)
		return body_write(part->body, message, source);
	if (part->most == EVERYTHING && (part->width == 0 || message->body.size >= sizeof begin))
		return body_write(form->escape ? BODY_SHOWN : BODY_PLAIN, message, source);
	status = body_begin(message, source, begin, sizeof begin, &got);
	return status != 0 ? status : value_write(part, form, begin, got);
}

static int lease_write(const struct part *part, const struct form *form,
	const struct lmq_message *message)
{
	char text[LEASE_TEXT_MAX];

	if (!form->delivery)
		return value_write(part, form, "", 0);
	return value_write(part, form, text, (size_t)(lease_put(text, form, message) - text));
}

static int reason_write(const struct part *part, const struct form *form, const struct lmq_death *death)
{
	const char *reason = death != NULL ? lmq_reason_name(death->history.reason) : "";

	return value_write(part, form, reason, strlen(reason));
}

static int origin_write(const struct part *part, const struct form *form, const struct lmq_death *death)
{
	char text[LMQ_NAME_MAX + 48];

	if (death == NULL)
		return value_write(part, form, "", 0);
	return value_write(part, form, text, (size_t)(origin_put(text, death) - text));
}

static int part_write(const struct part *part, const struct form *form,
	const struct lmq_message *message, const struct body_source *source)
{
	switch (part->letter) {
	case '\0':
		return output_bytes(part->text, part->size);
	case 'b':
		return body_part_write(part, form, message, source);
	case 'k':
		return text_value_write(part, form, message->key);
	case 'c':
		return value_write(part, form, form->channel, strlen(form->channel));
	case 'o':
		return number_write(part, form, message->offset);
	case 'P':
		return number_write(part, form, message->partition);
	case 's':
		return number_write(part, form, message->body.size);
	case 'a':
		return form->delivery ? number_write(part, form, message->attempt) :
			value_write(part, form, "", 0);
	case 'p':
		return number_write(part, form, (uint64_t)message->priority);
	case 'l':
		return lease_write(part, form, message);
	case 'i':
		return text_value_write(part, form, message->id);
	case 'T':
		return time_write(part, form, message->time);
	case 'u':
		return epoch_write(part, form, message->time);
	case 'h':
		return header_write(part, form, message);
	case 'j':
		return envelope_write(form, message, source);
	case 'r':
		return reason_write(part, form, message->death);
	case 'O':
		return origin_write(part, form, message->death);
	}
	return 0;
}

int template_write(const struct template *t, const struct form *form,
	const struct lmq_message *message, const struct body_source *source)
{
	int status = 0;

	for (size_t i = 0; i < t->count && status == 0; i++)
		status = part_write(&t->parts[i], form, message, source);
	return status;
}
