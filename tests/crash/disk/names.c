/* SPDX-License-Identifier: ISC */
#include "names.h"
#include "crash.h"

#include <string.h>

int names_find(const struct name *names, int count, int directory, const char *text)
{
	for (int n = 0; n < count; n++)
		if (names[n].directory == directory && strcmp(names[n].text, text) == 0)
			return n;
	return -1;
}

static int names_drop(struct name *names, int count, int directory, const char *text)
{
	int n = names_find(names, count, directory, text);
	if (n < 0)
		return count;
	names[n] = names[count - 1];
	return count - 1;
}

static int names_put(struct name *names, int count, int directory, const char *text, int file)
{
	count = names_drop(names, count, directory, text);
	need(count < IMAGE_FILES && strlen(text) < sizeof names->text, "too many names, or too long ones");
	names[count] = (struct name){ (uint16_t)directory, (uint16_t)file, "" };
	strcpy(names[count].text, text);
	return count + 1;
}

int names_apply(const struct item *item, struct name *names, int count)
{
	const char *text = (const char *)item->data;
	if (item->kind == ENTRY_MADE)
		return names_put(names, count, item->directory, text, item->file);
	count = names_drop(names, count, item->directory, text);
	if (item->kind == ENTRY_RENAMED)
		count = names_put(names, count, item->to, text + strlen(text) + 1, item->file);
	return count;
}
