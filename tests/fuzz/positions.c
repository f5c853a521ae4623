/* SPDX-License-Identifier: ISC */
/* Positions of groups as mq-seek --import reads them: what is read is written as lines that are read as the same. */
#include "fuzz.h"

#include "cmd.h"
#include "output.h"

static struct position *list;
static size_t count;

static void read_them(void *argument)
{
	(void)argument;
	count = 0;
	list = positions_read(&count);
	for (size_t i = 0; i < count; i++) {
		struct lmq_group_info info = { .partition = list[i].partition, .position = list[i].offset };
		MUST(lmq_name_valid(list[i].channel) && lmq_name_valid(list[i].group));
		memcpy(info.name, list[i].group, sizeof info.name);
		position_write(list[i].channel, &info);
	}
	output_flush();
}

static int read_text(const char *text, size_t size)
{
	FILE *before = stdin, *f = size > 0 ? fmemopen((void *)text, size, "r") : fopen("/dev/null", "re");
	int end;
	if (!f)
		abort();
	stdin = f;
	end = fuzz_tool(read_them, NULL);
	stdin = before;
	fclose(f);
	return end;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct lmq_bytes first;
	struct taker t;
	char *kept;
	size_t written;
	take_begin(&t, data, size);
	if (read_text((const char *)data, size) != -1)
		return 0;
	first = fuzz_printed();
	kept = (char *)take_bytes(&(struct taker){ (const uint8_t *)first.data, (const uint8_t *)first.data + first.size },
		first.size).data;
	written = first.size;
	if (fuzz_fault() && written > 2)
		kept[0] ^= 1;
	MUST(read_text(kept, written) == -1);
	MUST(fuzz_printed().size == written && memcmp(fuzz_printed().data, kept, written) == 0);
	return 0;
}
