/* SPDX-License-Identifier: ISC */
/* Names of channels. */
#include "unit.h"

#include "libmq.h"
#include "base/name.h"

TEST(valid, "names are words of letters, digits, - and _ between dots")
{
	static const char *const names[] = {
		"a", "Z", "0", "_", "jobs", "orders.eu.created", "a-b", "a.-b",
		"a_b", "_system", "x.dead", "a-", "a_", "9.9",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		CHECK_ROW(lmq_name_valid(names[i]), names[i]);
}

TEST(invalid, "anything else is no name")
{
	static const char *const names[] = {
		"", ".", "..", ".a", "a.", "a..b", "-a", "a b", "a/b", "../a", "a*",
		"a+", "a#", "a:1", "a\n", "\xc3\xa9", "a\x80", "a=b", "a,b", "~",
	};

	CHECK(!lmq_name_valid(NULL));
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		CHECK_ROW(!lmq_name_valid(names[i]), names[i]);
}

TEST(length, "a name has at most 128 bytes")
{
	char name[LMQ_NAME_MAX + 2];

	memset(name, 'a', sizeof(name));
	name[LMQ_NAME_MAX] = '\0';
	CHECK(lmq_name_valid(name));
	name[LMQ_NAME_MAX] = 'a';
	name[LMQ_NAME_MAX + 1] = '\0';
	CHECK(!lmq_name_valid(name));
	name[LMQ_NAME_MAX] = '.';
	CHECK(!lmq_name_valid(name));
}

TEST(reserved, "names that begin with _ or end in .dead are the library's")
{
	CHECK(lmq_name_reserved("_"));
	CHECK(lmq_name_reserved("_x"));
	CHECK(lmq_name_reserved("jobs.dead"));
	CHECK(lmq_name_reserved(".dead"));
	CHECK(!lmq_name_reserved(""));
	CHECK(!lmq_name_reserved("dead"));
	CHECK(!lmq_name_reserved("jobs.dead.x"));
	CHECK(!lmq_name_reserved("undead"));
	CHECK(!lmq_name_reserved("x_"));
}

TEST(distance, "the distance counts bytes inserted, dropped, replaced, and neighbours swapped")
{
	char name[LMQ_NAME_MAX + 2], other[LMQ_NAME_MAX + 2];

	CHECK_EQUAL(name_distance("", ""), 0);
	CHECK_EQUAL(name_distance("orders", "orders"), 0);
	CHECK_EQUAL(name_distance("", "abc"), 3);
	CHECK_EQUAL(name_distance("abc", ""), 3);
	CHECK_EQUAL(name_distance("ordres", "orders"), 1);
	CHECK_EQUAL(name_distance("order", "orders"), 1);
	CHECK_EQUAL(name_distance("orders", "0rders"), 1);
	CHECK_EQUAL(name_distance("kitten", "sitting"), 3);
	CHECK_EQUAL(name_distance("jobs", "logs"), 2);
	memset(name, 'a', sizeof(name));
	memset(other, 'b', sizeof(other));
	name[LMQ_NAME_MAX] = other[LMQ_NAME_MAX] = '\0';
	CHECK_EQUAL(name_distance(name, other), LMQ_NAME_MAX);
	name[LMQ_NAME_MAX] = 'a';
	name[LMQ_NAME_MAX + 1] = '\0';
	CHECK_EQUAL(name_distance(name, "a"), LMQ_NAME_MAX + 1);
	CHECK_EQUAL(name_distance("a", name), LMQ_NAME_MAX + 1);
}

/* By trying every edit of the last bytes; a and b are what lies before them. */
static size_t plain_distance(const char *a, size_t i, const char *b, size_t j)
{
	size_t best, other;

	if (i == 0 || j == 0)
		return i + j;
	best = plain_distance(a, i - 1, b, j - 1) + (a[i - 1] != b[j - 1]);
	other = plain_distance(a, i - 1, b, j) + 1;
	best = other < best ? other : best;
	other = plain_distance(a, i, b, j - 1) + 1;
	best = other < best ? other : best;
	if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
		other = plain_distance(a, i - 2, b, j - 2) + 1;
		best = other < best ? other : best;
	}
	return best;
}

TEST(distance_agrees, "the distance is that of trying every edit, and the same both ways")
{
	for (int i = 0; i < 5000; i++) {
		char text[2][8];
		size_t length[2], distance;

		for (int n = 0; n < 2; n++) {
			length[n] = unit_random_below(6);
			for (size_t j = 0; j < length[n]; j++)
				text[n][j] = (char)('a' + unit_random_below(3));
			text[n][length[n]] = '\0';
		}
		distance = name_distance(text[0], text[1]);
		REQUIRE(distance == plain_distance(text[0], length[0], text[1], length[1]));
		REQUIRE(distance == name_distance(text[1], text[0]));
	}
}

UNIT_MAIN
