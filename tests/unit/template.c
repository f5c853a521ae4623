/* SPDX-License-Identifier: ISC */
/*
 * Messages on their way out: bodies, envelopes and templates, from one piece and from many.
 */
#include "unit.h"

#include "cmd.h"
#include "output.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- a message, and stdout caught in a file ------------------------------------------------------ */

/* A tool compiles its template once and never frees it; the list keeps them from being leaks here. */
static struct template *compiled(const char *text)
{
	static struct template *kept[1024];
	static size_t count;

	if (count == sizeof kept / sizeof *kept)
		abort();
	return kept[count++] = template_compile(text);
}

static char body_bytes[300000];
static size_t body_size, piece_most, pauses;

static int piece(void *handle, uint64_t at, struct lmq_bytes *bytes)
{
	(void)handle;
	bytes->data = body_bytes + at;
	bytes->size = body_size - at < piece_most ? body_size - (size_t)at : piece_most;
	return 0;
}

static void count_pause(void *handle)
{
	(void)handle;
	pauses++;
}

static const struct body_source source = { piece, count_pause, NULL };

static struct lmq_header headers[] = {
	{ { "trace", 5 }, { "a\"b", 3 } },
	{ { "level", 5 }, { "\xc3\xa9t\xc3\xa9", 5 } },
};

/* A body with data comes in one piece; without, it is body_bytes. */
static struct lmq_message message_with(const char *data, size_t size)
{
	struct lmq_message message = LMQ_MESSAGE_INIT;

	message.body = (struct lmq_bytes){ data, size };
	message.key = (struct lmq_bytes){ "eu.c42", 6 };
	message.offset = 1041;
	message.time = INT64_C(1769249472123456789);
	message.attempt = message.delivery = 1;
	return message;
}

static char caught[4000000];
static size_t caught_size;

static void catch_form(const struct form *form, const struct lmq_message *message, int times)
{
	int stdout_fd, file = memfd_create("caught", MFD_CLOEXEC);
	ssize_t size;

	fflush(stdout);
	stdout_fd = dup(STDOUT_FILENO);
	dup2(file, STDOUT_FILENO);
	output_source(&source);
	for (int i = 0; i < times; i++)
		CHECK(form_write(form, message, &source) == 0);
	CHECK(output_flush() == 0);
	dup2(stdout_fd, STDOUT_FILENO);
	close(stdout_fd);
	size = pread(file, caught, sizeof caught - 1, 0);
	close(file);
	caught_size = size > 0 ? (size_t)size : 0;
	caught[caught_size] = '\0';
}

static const char *shown(enum form_kind kind, const char *template, const char *data, size_t size)
{
	struct lmq_message message = message_with(data, size);
	struct form form = { .kind = kind, .channel = "orders", .delivery = true, .delimiter = "" };

	message.headers = headers;
	message.header_count = 2;
	if (template != NULL)
		form.template = compiled(template);
	catch_form(&form, &message, 1);
	return caught;
}

static const char *templated(const char *template)
{
	return shown(FORM_TEMPLATE, template, "hello", 5);
}

static const char *body_templated(const char *template, const char *body)
{
	return shown(FORM_TEMPLATE, template, body, strlen(body));
}

/* A dead letter, as orders.dead has it. */
static const struct lmq_death death = {
	.origin = { "jobs", 4 },
	.offset = 1041,
	.history = {
		.attempts = 5, .failures = 4, .crashes = 1,
		.first_time = INT64_C(1769249472123456789), .last_time = INT64_C(1769249473000000000),
		.reason = LMQ_FAILED, .exit_status = 1,
		.error = { "\x80o\"\n\xff", 5 },
	},
};

static const char *letter_shown(enum form_kind kind, const char *template, const struct lmq_death *what)
{
	struct lmq_message message = message_with("hello", 5);
	struct form form = { .kind = kind, .channel = "orders", .delivery = true, .delimiter = "" };

	message.death = what;
	if (template != NULL)
		form.template = compiled(template);
	catch_form(&form, &message, 1);
	return caught;
}

/* ---- envelopes ----------------------------------------------------------------------------------- */

#define HEAD "{\"channel\":\"orders\",\"offset\":1041,\"time\":\"2026-01-24T10:11:12.123456789Z\"," \
	"\"key\":\"eu.c42\",\"headers\":{\"trace\":\"a\\\"b\",\"level\":\"\xc3\xa9t\xc3\xa9\"}," \
	"\"priority\":4,\"attempt\":1,\"lease\":\"orders:1041:1\","

TEST(envelope, "an envelope has its keys in their order, and no others")
{
	CHECK_TEXT(shown(FORM_JSON, NULL, "hello", 5), HEAD "\"body\":\"hello\"}");
	CHECK_TEXT(shown(FORM_JSON, NULL, "", 0), HEAD "\"body\":\"\"}");
	CHECK_TEXT(shown(FORM_JSON, NULL, "a\nb\t\x01\x7f\\\"/\xf0\x9f\x98\x80", 13),
		HEAD "\"body\":\"a\\nb\\t\\u0001\\u007f\\\\\\\"/\xf0\x9f\x98\x80\"}");
}

TEST(binary, "a body that is no text is in base64")
{
	CHECK_TEXT(shown(FORM_JSON, NULL, "\0", 1), HEAD "\"body_base64\":\"AA==\"}");
	CHECK_TEXT(shown(FORM_JSON, NULL, "\xff\xfe", 2), HEAD "\"body_base64\":\"//4=\"}");
	CHECK_TEXT(shown(FORM_JSON, NULL, "\xc3\xa9\xc3", 3), HEAD "\"body_base64\":\"w6nD\"}");
	CHECK_TEXT(shown(FORM_JSON, NULL, "\xed\xa0\x80", 3), HEAD "\"body_base64\":\"7aCA\"}");
}

TEST(data, "json-data: a body that is JSON is a value, on one line")
{
	CHECK_TEXT(shown(FORM_JSON_DATA, NULL, " {\"a\" : [1, 2.50,\n\"x \\\" y\" ] }\n", 31),
		HEAD "\"data\":{\"a\":[1,2.50,\"x \\\" y\"]}}");
	CHECK_TEXT(shown(FORM_JSON_DATA, NULL, "true", 4), HEAD "\"data\":true}");
	CHECK_TEXT(shown(FORM_JSON_DATA, NULL, "true x", 6), HEAD "\"body\":\"true x\"}");
	CHECK_TEXT(shown(FORM_JSON_DATA, NULL, "", 0), HEAD "\"body\":\"\"}");
}

TEST(ttl, "a time to live is in the envelope where there is one")
{
	struct lmq_message message = message_with("x", 1);
	struct form form = { .kind = FORM_JSON, .channel = "log", .delimiter = "" };

	message.ttl = INT64_C(600000000000);
	catch_form(&form, &message, 1);
	CHECK_TEXT(caught, "{\"channel\":\"log\",\"offset\":1041,\"time\":\"2026-01-24T10:11:12.123456789Z\","
		"\"key\":\"eu.c42\",\"priority\":4,\"ttl\":\"10m\",\"body\":\"x\"}");
}

#define LETTER "{\"channel\":\"orders\",\"offset\":1041,\"time\":\"2026-01-24T10:11:12.123456789Z\"," \
	"\"key\":\"eu.c42\",\"priority\":4,\"attempt\":1,\"lease\":\"orders:1041:1\"," \
	"\"reason\":\"failed\",\"origin\":\"jobs:1041\",\"attempts\":5,\"failures\":4,\"crashes\":1,\"timeouts\":0," \
	"\"first_time\":\"2026-01-24T10:11:12.123456789Z\",\"last_time\":\"2026-01-24T10:11:13.000000000Z\"," \
	"\"exit\":1,\"error\":\"\\ufffdo\\\"\\n\\ufffd\",\"body\":\"hello\"}"

TEST(dead, "a dead letter tells why it is dead, before its body")
{
	struct lmq_death other = death;

	CHECK_TEXT(letter_shown(FORM_JSON, NULL, &death), LETTER);
	other.history.exit_status = -1;
	other.history.signal = 9;
	CHECK(strstr(letter_shown(FORM_JSON, NULL, &other), ",\"signal\":9,\"error\":") != NULL);
	CHECK(strstr(caught, "\"exit\"") == NULL);
	other = (struct lmq_death){ .origin = { "a", 1 }, .partitioned = true, .partition = 3,
		.history = { .reason = LMQ_EXPIRED, .exit_status = -1 } };
	CHECK(strstr(letter_shown(FORM_JSON, NULL, &other), ",\"reason\":\"expired\",\"origin\":\"a/3:0\","
		"\"attempts\":0,\"failures\":0,\"crashes\":0,\"timeouts\":0,\"body\":") != NULL);
}

TEST(dead_again, "dead letters stay whole when the buffer is flushed between them")
{
	static char error[LMQ_ERROR_MAX];
	struct lmq_message message = message_with("hello", 5);
	struct form form = { .kind = FORM_JSON, .channel = "orders", .delimiter = "\n", .delimiter_size = 1 };
	struct lmq_death long_one = death;
	size_t size;

	memset(error, 1, sizeof error);
	long_one.history.error = (struct lmq_bytes){ error, sizeof error };
	message.death = &long_one;
	catch_form(&form, &message, 1);
	size = caught_size;
	catch_form(&form, &message, 500);
	CHECK_EQUAL(caught_size, 500 * size);
	for (size_t i = 1; i < 500; i++)
		CHECK(memcmp(caught, caught + i * size, size) == 0);
}

/* ---- templates ----------------------------------------------------------------------------------- */

TEST(fields, "every letter stands for its field")
{
	CHECK_TEXT(templated("%b %k %c %o %P %s %a %p %l [%i] %u %% %r%O"),
		"hello eu.c42 orders 1041 0 5 1 4 orders:1041:1 [] 1769249472 % ");
	CHECK_TEXT(letter_shown(FORM_TEMPLATE, "%r %O %12O|%-8r|%.2r", &death),
		"failed jobs:1041    jobs:1041|failed  |fa");
	CHECK_TEXT(templated("%T"), "2026-01-24T10:11:12.123456789Z");
	CHECK_TEXT(templated("%{%Y}T"), "2026");
	CHECK_TEXT(templated("%{trace}h %{none}h %{level}h"), "a\"b  \xc3\xa9t\xc3\xa9");
	CHECK_TEXT(templated("%h"), "{\"trace\":\"a\\\"b\",\"level\":\"\xc3\xa9t\xc3\xa9\"}");
	CHECK_TEXT(templated("%j"), HEAD "\"body\":\"hello\"}");
	CHECK_TEXT(templated(""), "");
}

TEST(encodings, "a body as JSON, hexadecimal and base64")
{
	CHECK_TEXT(body_templated("%{json}b", "a\"\n"), "\"a\\\"\\n\"");
	CHECK_TEXT(body_templated("%{json}b", "a\xff\xc3\xa9"), "\"a\\ufffd\xc3\xa9\"");
	CHECK_TEXT(body_templated("%{hex}b", "a\xff"), "61ff");
	CHECK_TEXT(body_templated("%{base64}b", "hello"), "aGVsbG8=");
	CHECK_TEXT(body_templated("%{base64}b", ""), "");
}

TEST(widths, "widths pad and cut by characters")
{
	CHECK_TEXT(templated("%-8b|%8b|%.2b|%-4.2b|%4.2b|%0b"), "hello   |   hello|he|he  |  he|hello");
	CHECK_TEXT(templated("%-6{level}h|%.1{level}h|%6o|%-6o|"), "\xc3\xa9t\xc3\xa9   |\xc3\xa9|  1041|1041  |");
	CHECK_TEXT(templated("%.0b|%40i|"), "|                                        |");
}

TEST(escapes, "escapes are read in a template, and never in a value")
{
	CHECK_TEXT(templated("a\\n\\t\\\\\\x41\\x25b"), "a\n\t\\A%b");
	CHECK_TEXT(body_templated("%b", "\\n%k"), "\\n%k");
	templated("\\0");
	CHECK_EQUAL(caught_size, 1);
	CHECK_EQUAL(caught[0], '\0');
}

/* Whether compiling ends the process with 64. */
static bool is_refused(const char *template)
{
	int status = 0;
	pid_t child;

	fflush(stdout);
	child = fork();
	if (child == 0) {
		int null = open("/dev/null", O_WRONLY);

		dup2(null, STDERR_FILENO);
		compiled(template);
		_exit(0);
	}
	waitpid(child, &status, 0);
	return WIFEXITED(status) && WEXITSTATUS(status) == EXIT_USAGE;
}

TEST(refused, "what is no template ends with 64")
{
	static const char *const bad[] = {
		"%", "%z", "%5", "%{", "%{a", "%{a}", "%{a}k", "%{xml}b", "\\", "\\q", "\\x", "\\x4", "\\xg0",
		"%10000b", "%.10000b", "%99999999999999999999b", "%5j", "%5h", "%.2{hex}b", "%-", "%.", "a%b%",
	};

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		CHECK_ROW(is_refused(bad[i]), bad[i]);
	CHECK(!is_refused("%b"));
}

/* ---- large bodies and full buffers --------------------------------------------------------------- */

static void body_fill(const char *pattern, size_t size)
{
	size_t length = strlen(pattern);

	for (size_t i = 0; i < size; i++)
		body_bytes[i] = pattern[i % length];
	body_size = size;
}

TEST(pieces, "a body in pieces comes out as one in one piece")
{
	static char whole[4000000];
	static const struct { enum form_kind kind; const char *template; bool escape; } forms[] = {
		{ FORM_BODY, NULL, false }, { FORM_BODY, NULL, true }, { FORM_JSON, NULL, false },
		{ FORM_TEMPLATE, "%b", false }, { FORM_TEMPLATE, "%{json}b", false },
		{ FORM_TEMPLATE, "%{hex}b", false }, { FORM_TEMPLATE, "%{base64}b", false },
		{ FORM_TEMPLATE, "%-9.7b|%20b", false }, { FORM_TEMPLATE, "%j", false },
	};
	static const char *const patterns[] = { "a", "x\xf0\x9f\x98\x80y\xc3\xa9\"", "\x01\xff\xe2\x82" };

	for (size_t i = 0; i < 3 * sizeof forms / sizeof *forms; i++) {
		struct form form = { .kind = forms[i / 3].kind, .escape = forms[i / 3].escape,
			.channel = "c", .delimiter = "\n", .delimiter_size = 1 };
		struct lmq_message message = message_with(body_bytes, 299995);
		size_t whole_size;

		if (forms[i / 3].template != NULL)
			form.template = compiled(forms[i / 3].template);
		body_fill(patterns[i % 3], 299995);
		catch_form(&form, &message, 1);
		whole_size = caught_size;
		memcpy(whole, caught, caught_size);
		message.body.data = NULL;
		for (piece_most = 997; piece_most < 70000; piece_most += 33000) {
			catch_form(&form, &message, 1);
			CHECK_EQUAL(caught_size, whole_size);
			CHECK(memcmp(caught, whole, whole_size) == 0);
		}
	}
}

TEST(counted, "a message that was written is counted, and the source is paused before")
{
	struct form form = { .kind = FORM_BODY, .channel = "c", .delimiter = "\n", .delimiter_size = 1 };
	struct lmq_message message = message_with("abc", 3);
	uint64_t before = output_completed();

	pauses = 0;
	catch_form(&form, &message, 300000);
	CHECK_EQUAL(output_completed() - before, 300000);
	CHECK_EQUAL(caught_size, 1200000);
	CHECK(pauses >= 4);
	message = message_with("", 0);
	form.delimiter_size = 0;
	before = output_completed();
	catch_form(&form, &message, 200000);
	CHECK_EQUAL(output_completed() - before, 200000);
}

TEST(partial, "after a partial write only whole messages count")
{
	struct form form = { .kind = FORM_BODY, .channel = "c", .delimiter = "\n", .delimiter_size = 1 };
	struct lmq_message message = message_with("abcdefg", 7);
	struct rlimit limit, before_limit;
	int stdout_fd, file, status = 0;
	uint64_t before = output_completed();

	fflush(stdout);
	REQUIRE((file = memfd_create("partial", 0)) >= 0);
	stdout_fd = dup(STDOUT_FILENO);
	dup2(file, STDOUT_FILENO);
	output_source(NULL);
	for (int i = 0; i < 10000; i++)
		CHECK(form_write(&form, &message, &source) == 0);
	CHECK(output_bytes("unfinished", 10) == 0);
	CHECK(output_take_back());
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &before_limit);
	limit = before_limit;
	limit.rlim_cur = 65540;	/* in the middle of a message */
	setrlimit(RLIMIT_FSIZE, &limit);
	status = output_flush();
	setrlimit(RLIMIT_FSIZE, &before_limit);
	dup2(stdout_fd, STDOUT_FILENO);
	CHECK_EQUAL(status, OUTPUT_FAILED);
	CHECK_EQUAL(output_completed() - before, 65536 / 8);
	CHECK(output_error() != 0);
}

TEST(utf8, "UTF-8 is told from what is not")
{
	static const char *const good[] = { "", "abc", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80",
		"12345678\xc3\xa9" "12345678", "\xed\x9f\xbf", "\xf4\x8f\xbf\xbf" };
	static const char *const bad[] = { "\x80", "\xc0\x80", "\xc1\xbf", "\xe0\x80\x80", "\xed\xa0\x80",
		"\xf0\x80\x80\x80", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff", "\xc3", "\xe2\x82",
		"12345678\xe2" "12345678", "\xc3" "a" };

	for (size_t i = 0; i < sizeof good / sizeof *good; i++)
		CHECK_ROW(utf8_valid_text(good[i], strlen(good[i])), good[i]);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		CHECK_ROW(!utf8_valid_text(bad[i], strlen(bad[i])), bad[i]);
	CHECK(!utf8_valid_text("a\0b", 3));
	CHECK(!utf8_valid_text("1234\0005678", 9));
}

UNIT_MAIN
