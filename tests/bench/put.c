/* SPDX-License-Identifier: ISC */
/* put DIRECTORY: the least that can be done for one durable record: LMDB opened, one put, one commit. */
#include <lmdb.h>

#include "bench.h"

static void must(int error, const char *what)
{
	if (error)
		bench_die(what, mdb_strerror(error));
}

int main(int argc, char **argv)
{
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi table;
	int64_t now = bench_clock();
	char body[] = "hello";
	MDB_val key = { sizeof now, &now }, value = { sizeof body - 1, body };
	if (argc != 2)
		bench_die("put", "DIRECTORY");
	must(mdb_env_create(&env), "mdb_env_create");
	must(mdb_env_set_mapsize(env, (size_t)1 << 30), "mdb_env_set_mapsize");
	must(mdb_env_open(env, argv[1], 0, 0600), argv[1]);
	must(mdb_txn_begin(env, NULL, 0, &txn), "mdb_txn_begin");
	must(mdb_dbi_open(txn, NULL, 0, &table), "mdb_dbi_open");
	must(mdb_put(txn, table, &key, &value, 0), "mdb_put");
	must(mdb_txn_commit(txn), "mdb_txn_commit");
	mdb_env_close(env);
	return 0;
}
