# SPDX-License-Identifier: ISC
#
# One makefile for everything; `make help` lists the targets. It is read by GNU make 4.2 or newer.
#
# What is found out about the machine (compiler, libraries) is found out once and kept in
# $(BUILD)/config.mk, so that a build with nothing to do starts no process. All output goes to $(BUILD).
# Targets that install packages or build in several ways (check, demo, asan, strict, lint) only
# call this makefile again, with other variables.

BUILD = build
PREFIX = /usr/local
BINDIR = $(PREFIX)/bin
LIBDIR = $(PREFIX)/lib
INCLUDEDIR = $(PREFIX)/include
DATADIR = $(PREFIX)/share
MANDIR = $(DATADIR)/man
INSTALL = install
GNULIB = $(BUILD)/gnulib

MAKEFLAGS += --no-builtin-rules
.SUFFIXES:
.SECONDARY:
.DELETE_ON_ERROR:

# ---- what there is -----------------------------------------------------------------------------

lib_sources := $(wildcard libmq/*/*.c)
tool_sources := $(wildcard cmd/mq-*.c)
shared_sources := $(filter-out $(tool_sources),$(wildcard cmd/*.c))
unit_sources := $(wildcard tests/unit/*.c)
# What has a header is shared by the crash tests, disk.c is loaded into others; the rest are programs.
crash_shared := $(patsubst %.h,%.c,$(wildcard tests/crash/*.h tests/crash/*/*.h))
crash_sources := $(filter-out $(crash_shared) tests/crash/disk.c,$(wildcard tests/crash/*.c))
# Each is a target but what they share, and the program that feeds one with files.
fuzz_shared := tests/fuzz/fuzz.c
fuzz_sources := $(filter-out $(fuzz_shared) tests/fuzz/main.c,$(wildcard tests/fuzz/*.c))
pages := $(wildcard man/*.[1-8])

comma := ,
object = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
lib_objects := $(call object,$(lib_sources))
shared_objects := $(call object,$(shared_sources))
tool_names := $(notdir $(tool_sources:.c=))
tools := $(addprefix $(BUILD)/,$(tool_names))
unit_programs := $(patsubst %.c,$(BUILD)/%,$(unit_sources))
crash_programs := $(patsubst %.c,$(BUILD)/%,$(crash_sources))
crash_objects := $(call object,$(crash_shared))
fuzz_programs := $(patsubst %.c,$(BUILD)/%,$(fuzz_sources))
# FUZZER=1: with clang's libFuzzer, which has a main() of its own.
fuzz_objects := $(call object,$(fuzz_shared) $(if $(FUZZER),,tests/fuzz/main.c))
all_objects := $(call object,$(lib_sources) $(tool_sources) $(shared_sources) $(unit_sources) \
	$(crash_shared) $(crash_sources) $(fuzz_shared) $(fuzz_sources) tests/fuzz/main.c)

# ---- the machine -------------------------------------------------------------------------------

wrappers := check demo asan strict lint mutants coverage fuzz clean help
ifneq ($(if $(MAKECMDGOALS),$(filter-out $(wrappers),$(MAKECMDGOALS)),all),)
include $(BUILD)/config.mk
endif

config_for_now := $(strip $(CC) $(PKG_CONFIG_PATH) $(PKG_CONFIG_LIBDIR))
ifneq ($(config_for),$(config_for_now))
$(BUILD)/config.mk: FORCE
endif

# gcc 12 and clang 14 are known to have nothing to say about the code, so there, and with the flags
# that are ours, a warning is an error. `make WERROR=` does without, `make strict` insists anywhere.
$(BUILD)/config.mk: Makefile libmq/libmq.h
	@mkdir -p $(@D)
	@pkg-config --exists lmdb && command -v gnulib-tool >/dev/null || { \
		echo 'mq: liblmdb or gnulib is missing: tests/setup installs it' >&2; exit 1; }
	@set -e; \
	say() { printf '%s := %s\n' "$$1" "$$2"; }; \
	version=$$(sed -n 's/^#define LMQ_VERSION "\(.*\)"/\1/p' libmq/libmq.h); \
	compiler=$$(printf '%s\n' 'clang __clang_major__ gcc __GNUC__ x86 __x86_64__ __i386__' \
		| $(CC) -E -P -x c -); \
	{	say config_for '$(config_for_now)'; \
		say version "$$version"; \
		say lmdb_cflags "$$(pkg-config --cflags lmdb)"; \
		say lmdb_libs "$$(pkg-config --libs lmdb)"; \
		case $$compiler in (*'clang 14 '*|*__clang_major__*'gcc 12 '*) \
			say compiler_known -Werror;; esac; \
		case $$compiler in (*' 1 '*|*' 1') say cf_protection -fcf-protection;; esac; \
	} >$@.new
	@mv $@.new $@

# ---- flags -------------------------------------------------------------------------------------

# Ours first, so that those of the caller win.
warnings = -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wformat=2
ifeq ($(origin WERROR),undefined)
WERROR = $(if $(CFLAGS)$(CPPFLAGS),,$(compiler_known))
endif
harden = -fstack-protector-strong -fstack-clash-protection $(cf_protection)
ifdef SANITIZE
harden += -fsanitize=$(SANITIZE) -fno-sanitize-recover=all -fno-omit-frame-pointer
else
no_undefined = -Wl,-z,defs
endif
# glibc checks buffers only in optimized code, and warns when it is asked to elsewhere.
fortify = $(if $(SANITIZE)$(filter -O0,$(CFLAGS)),,-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3)

cppflags = -D_GNU_SOURCE -Ilibmq $(fortify) $(CPPFLAGS)
cflags = -std=gnu11 -O2 -g $(warnings) $(WERROR) $(harden) $(CFLAGS)
ldflags = -Wl,-z,relro,-z,now -Wl,--as-needed $(harden) $(LDFLAGS)
compile = $(CC) $(cppflags) $(1) $(cflags) -MMD -MP -c -o $@ $<

# Files that hold the value of a variable and become newer when, and only when, it changes.
flags_now := $(strip $(CC) | $(cppflags) | $(cflags) | $(ldflags))
sources_now := $(strip $(lib_sources) | $(shared_sources))
ifneq ($(file <$(BUILD)/flags),$(flags_now))
$(BUILD)/flags: FORCE
endif
ifneq ($(file <$(BUILD)/sources),$(sources_now))
$(BUILD)/sources: FORCE
endif
$(BUILD)/flags $(BUILD)/sources: | $(BUILD)/config.mk
	@$(file >$@,$($(@F)_now)):

ifeq ($(V),1)
say =
else
say = @printf '  %-7s %s\n' '$(1)' '$(2)';
endif

# ---- building ----------------------------------------------------------------------------------

.PHONY: all unit crash fuzz-programs FORCE
.DEFAULT_GOAL = all
all: $(tools) $(BUILD)/libmq.a $(BUILD)/libmq.so
unit: $(unit_programs)
crash: $(crash_programs) $(BUILD)/tests/crash/disk.so
fuzz-programs: $(fuzz_programs)
FORCE:

soname := libmq.so.0
real_name := libmq.so.$(version)

# The library is compiled once, for both of its forms. Only what libmq.h declares is visible outside.
$(lib_objects): $(BUILD)/obj/%.o: %.c $(BUILD)/flags
	$(call say,CC,$@)mkdir -p $(@D) && $(call compile,-fPIC -fvisibility=hidden $(lmdb_cflags))

$(BUILD)/obj/cmd/%.o $(BUILD)/obj/tests/unit/%.o: extra = -fPIE -Icmd @$(GNULIB)/cppflags
$(BUILD)/obj/cmd/%.o: cmd/%.c $(BUILD)/flags $(GNULIB)/cppflags
	$(call say,CC,$@)mkdir -p $(@D) && $(call compile,$(extra))

$(BUILD)/obj/tests/unit/%.o: tests/unit/%.c $(BUILD)/flags $(GNULIB)/cppflags
	$(call say,CC,$@)mkdir -p $(@D) && $(call compile,$(extra))

$(BUILD)/libmq.a: $(lib_objects) $(BUILD)/sources
$(BUILD)/libcmd.a: $(shared_objects) $(BUILD)/sources
$(BUILD)/%.a:
	$(call say,AR,$@)rm -f $@ && $(AR) rcs $@ $(filter %.o,$^)

$(BUILD)/$(real_name): $(lib_objects) libmq/libmq.map $(BUILD)/sources
	$(call say,LINK,$@)$(CC) -shared -Wl,-soname,$(soname) -Wl,--version-script=libmq/libmq.map \
		$(no_undefined) $(ldflags) -o $@ $(lib_objects) $(lmdb_libs) $(LDLIBS)

$(BUILD)/libmq.so: $(BUILD)/$(real_name)
	@ln -sf $(real_name) $(BUILD)/$(soname) && ln -sf $(soname) $@

# The library goes into each tool as a whole: half the start-up time of a program that has to find it.
archives := $(BUILD)/libcmd.a $(BUILD)/libmq.a
link = $(CC) -pie $(ldflags) -o $@ $< $(archives) $(GNULIB)/gllib/libgnu.a \
	$(lmdb_libs) -lm $(LDLIBS)

$(tools): $(BUILD)/%: $(BUILD)/obj/cmd/%.o $(archives)
	$(call say,LINK,$@)$(link)

$(unit_programs): $(BUILD)/%: $(BUILD)/obj/%.o $(archives)
	$(call say,LINK,$@)mkdir -p $(@D) && $(link)

# The crash tests put functions of their own in the place of the library's and the system's.
$(BUILD)/obj/tests/crash/%.o: fortify =
$(BUILD)/obj/tests/crash/%.o: tests/crash/%.c $(BUILD)/flags
	$(call say,CC,$@)mkdir -p $(@D) && $(call compile,-fPIE -Itests/crash)

$(BUILD)/tests/crash/opening: wraps = gate_lock mdb_txn_id inspect_data
$(BUILD)/tests/crash/creating: wraps = store_create
$(BUILD)/tests/crash/recovering: wraps = mdb_txn_begin store_recover
$(BUILD)/tests/crash/holding: wraps = writer_lock
$(BUILD)/tests/crash/staging: wraps = blob_orphan
$(BUILD)/tests/crash/failing: wraps = txn_commit txn_abort lease_open
$(BUILD)/tests/crash/starving: wraps = txn_commit txn_abort
$(BUILD)/tests/crash/stalling: wraps = gate_lock mdb_txn_id writer_lock txn_commit
$(BUILD)/tests/crash/filling: wraps = ballast_drop
$(BUILD)/tests/crash/draining: wraps = ballast_take ballast_drop
$(BUILD)/tests/crash/squeezing: wraps = ballast_take ballast_drop
$(BUILD)/tests/crash/rationing: wraps = room_error
$(BUILD)/tests/crash/handing: wraps = roster_next
$(BUILD)/tests/crash/saving: wraps = renameat fsync control_in_use
$(BUILD)/tests/crash/states: wraps = mdb_env_open mdb_txn_commit txn_commit
$(BUILD)/tests/crash/cutting: wraps = mdb_env_open
$(BUILD)/tests/crash/crowding: wraps = lease_take roster_begin
$(BUILD)/tests/crash/scribbling: wraps = words_wait lease_take notify_wake
$(BUILD)/tests/crash/stepping: wraps = run_first_due boot_number
$(BUILD)/tests/crash/inheriting: wraps = vigil_look roster_begin
$(BUILD)/tests/crash/damaging: wraps = block_get
$(BUILD)/tests/crash/tampering: wraps = inspect_files inspect_owner
$(BUILD)/tests/crash/erring: wraps = txn_abort mdb_get mdb_put mdb_del mdb_cursor_get mdb_cursor_open mdb_txn_begin \
	mdb_txn_renew mdb_dbi_open
$(BUILD)/tests/crash/waking: wraps = mdb_txn_commit notify_wake
$(crash_programs): $(BUILD)/%: $(BUILD)/obj/%.o $(crash_objects) $(BUILD)/libmq.a
	$(call say,LINK,$@)mkdir -p $(@D) && $(CC) -pie $(ldflags) $(addprefix -Wl$(comma)--wrap=,$(wraps)) \
		-o $@ $< $(crash_objects) $(BUILD)/libmq.a $(lmdb_libs) -ldl -lm $(LDLIBS)

$(BUILD)/tests/crash/disk.so: tests/crash/disk.c $(BUILD)/flags
	$(call say,LINK,$@)mkdir -p $(@D) && $(CC) -D_GNU_SOURCE -std=gnu11 -O2 -g $(warnings) $(WERROR) -shared \
		-fPIC -o $@ $< -ldl

# A target may call what ends a tool, reads or prints: tests/fuzz/fuzz.c catches that.
fuzz_wraps := exit _exit read write malloc calloc realloc reallocarray strdup free
$(BUILD)/obj/tests/fuzz/%.o: fortify =
$(BUILD)/obj/tests/fuzz/%.o: tests/fuzz/%.c $(BUILD)/flags
	$(call say,CC,$@)mkdir -p $(@D) && $(call compile,-fPIE -Icmd)

$(fuzz_programs): $(BUILD)/%: $(BUILD)/obj/%.o $(fuzz_objects) $(archives)
	$(call say,LINK,$@)mkdir -p $(@D) && $(CC) -pie $(ldflags) $(if $(FUZZER),-fsanitize=fuzzer) \
		$(addprefix -Wl$(comma)--wrap=,$(fuzz_wraps)) -o $@ $< $(fuzz_objects) $(archives) \
		$(GNULIB)/gllib/libgnu.a $(lmdb_libs) -lm $(LDLIBS)

# getopt_long is gnulib's: where the C library has that very one, configure finds nothing to
# replace, no header is generated, and the archive adds nothing to a tool.
$(GNULIB)/cppflags: | $(BUILD)/config.mk
	$(call say,GNULIB,$(@D))rm -rf $(@D) && { \
		gnulib-tool --create-testdir --without-tests --lgpl=2 --dir=$(@D) getopt-gnu && \
		(cd $(@D) && ./configure -q --disable-dependency-tracking CC='$(CC)') && \
		$(MAKE) -C $(@D)/gllib; \
	} >$(BUILD)/gnulib.log 2>&1 || { cat $(BUILD)/gnulib.log >&2; exit 1; }
	@if [ -e $(@D)/gllib/getopt.h ]; \
	then echo '-I$(@D)/gllib -I$(@D) -include $(@D)/config.h'; fi >$@

-include $(wildcard $(all_objects:.o=.d))

# ---- checking ----------------------------------------------------------------------------------

.PHONY: check demo bench torture soak mutants coverage asan strict lint fuzz
again = $(MAKE) --no-print-directory BUILD='$(BUILD)' \
	$(if $(findstring jobserver,$(MAKEFLAGS)),,-j$$(nproc))

# The state of the tree before is kept, for the test that building and checking leave none behind.
check:
	@tests/setup
	@mkdir -p $(BUILD) && git status --porcelain >$(BUILD)/tree-before 2>/dev/null \
		|| rm -f $(BUILD)/tree-before
	@+$(again) all unit crash fuzz-programs
	@unset MAKEFLAGS MFLAGS MAKELEVEL; \
		BUILD='$(BUILD)' CC='$(CC)' SANITIZE='$(SANITIZE)' tests/run $(TESTS)

asan:
	@+$(MAKE) --no-print-directory check BUILD=build/asan SANITIZE=address,undefined

strict:
	@+$(again) all unit crash fuzz-programs WERROR=-Werror

demo:
	@tests/setup
	@+$(again) all
	@BUILD='$(BUILD)' tests/demo

scripts = .ci/run tests/run tests/torture tests/fuzz/run tests/coverage tests/mutants/run tests/demo tests/setup tests/bench/run \
	$(wildcard tests/*.bats tests/*.bash tests/bench/*.bash completions/bash/*)

bench: all
	@unset MAKEFLAGS MFLAGS MAKELEVEL; \
		BUILD='$(BUILD)' CC='$(CC)' BENCH='$(BENCH)' SIZE='$(SIZE)' tests/bench/run

# ROWS="states cutting" takes only these; SEED=N repeats a run; HOURS of soak may be a fraction.
torture soak: all crash fuzz-programs
	@+if BUILD='$(BUILD)' FUZZ_CC='$(FUZZ_CC)' tests/fuzz/run can; then $(fuzzers); fi
	@unset MAKEFLAGS MFLAGS MAKELEVEL; \
		BUILD='$(BUILD)' SEED='$(SEED)' HOURS='$(HOURS)' tests/torture $@ $(ROWS)

# libFuzzer wants a build of its own. TARGETS="block glob" takes only these, each for SECONDS.
FUZZ_CC = clang
SECONDS = 60
fuzzers = $(again) BUILD='$(BUILD)/fuzzing' GNULIB='$(BUILD)/gnulib' CC='$(FUZZ_CC)' FUZZER=1 \
	SANITIZE=fuzzer-no-link,address,undefined CFLAGS=-O1 fuzz-programs
fuzz:
	@tests/setup fuzz
	@+$(again) $(BUILD)/gnulib/cppflags
	@+$(fuzzers)
	@unset MAKEFLAGS MFLAGS MAKELEVEL; BUILD='$(BUILD)' tests/fuzz/run $(SEED:%=-r %) $(SECONDS) $(TARGETS)

# Each mutant is built and tested in a copy of the tree; MUTANTS="gate-open" takes only these.
mutants:
	@tests/setup
	@mkdir -p $(BUILD)
	@unset MAKEFLAGS MFLAGS MAKELEVEL; BUILD='$(BUILD)' tests/mutants/run $(MUTANTS)

coverage:
	@tests/setup
	@rm -rf build/coverage && mkdir -p build/coverage
	@$(CC) -c -o build/coverage/dump.o tests/dump.c
	-@+$(MAKE) --no-print-directory check BUILD=build/coverage CFLAGS='-O0 --coverage -fprofile-update=atomic' \
		LDFLAGS='--coverage -Wl,--wrap=_exit $(CURDIR)/build/coverage/dump.o' TEST_LDFLAGS=--coverage WERROR=
	-@BUILD=build/coverage tests/torture torture erring starving failing
	@# Who is killed while it writes its counts spoils those of others: what has no kills comes once more, last.
	-@for program in build/coverage/tests/unit/*; do $$program; done >/dev/null 2>&1
	-@BUILD=build/coverage tests/torture sample fuzz
	@tests/coverage build/coverage

# clang-format only speaks about the lines that differ from the last commit, and only advises.
lint:
	@tests/setup lint
	@+$(again) all
	mandoc -T lint -W warning $(pages)
	shellcheck $(scripts)
	cppcheck --quiet --error-exitcode=1 --inline-suppr --enable=warning,portability --std=c11 \
		--suppress=missingIncludeSystem -D__GNUC__ "-D_Noreturn=__attribute__((noreturn))" \
		-D_GNU_SOURCE -Ilibmq -Icmd libmq cmd
	clang-tidy --quiet $(lib_sources) $(tool_sources) $(shared_sources) -- \
		-std=gnu11 -D_GNU_SOURCE -Ilibmq -Icmd
	BUILD='$(BUILD)' bats --filter '^(symbols|layers):' tests/90-build.bats
	-@if git rev-parse -q --verify HEAD >/dev/null 2>&1; then \
		git clang-format --quiet --diff HEAD -- libmq cmd tests; fi

# ---- installing --------------------------------------------------------------------------------

.PHONY: install uninstall clean help
to = $(DESTDIR)$(1)
bash_dir = $(call to,$(DATADIR)/bash-completion/completions)
zsh_dir = $(call to,$(DATADIR)/zsh/site-functions)
fish_dir = $(call to,$(DATADIR)/fish/vendor_completions.d)
completions = $(wildcard completions/$(1)/*)

# bash and fish look for a file named after the command: a tool without one of its own gets a link.
links_bash = $(filter-out $(notdir $(call completions,bash)),$(tool_names))
links_fish = $(filter-out $(notdir $(call completions,fish)),$(addsuffix .fish,$(tool_names)))

install: all
	$(INSTALL) -d $(call to,$(BINDIR)) $(call to,$(LIBDIR))/pkgconfig $(call to,$(INCLUDEDIR)) \
		$(bash_dir) $(zsh_dir) $(fish_dir) \
		$(addprefix $(call to,$(MANDIR))/man,$(sort $(subst .,,$(suffix $(pages)))))
	$(INSTALL) -m 755 $(tools) $(call to,$(BINDIR))
	$(INSTALL) -m 644 libmq/libmq.h $(call to,$(INCLUDEDIR))
	$(INSTALL) -m 644 $(BUILD)/libmq.a $(BUILD)/$(real_name) $(call to,$(LIBDIR))
	ln -sf $(real_name) $(call to,$(LIBDIR))/$(soname)
	ln -sf $(soname) $(call to,$(LIBDIR))/libmq.so
	sed 's|@PREFIX@|$(PREFIX)|; s|@LIBDIR@|$(LIBDIR)|; s|@INCLUDEDIR@|$(INCLUDEDIR)|; s|@VERSION@|$(version)|' \
		libmq/libmq.pc.in >$(call to,$(LIBDIR))/pkgconfig/libmq.pc
	chmod 644 $(call to,$(LIBDIR))/pkgconfig/libmq.pc
	set -e; for page in $(pages); do \
		$(INSTALL) -m 644 $$page $(call to,$(MANDIR))/man$${page##*.}; done
	$(if $(call completions,bash),$(INSTALL) -m 644 $(call completions,bash) $(bash_dir))
	$(if $(call completions,zsh),$(INSTALL) -m 644 $(call completions,zsh) $(zsh_dir))
	$(if $(call completions,fish),$(INSTALL) -m 644 $(call completions,fish) $(fish_dir))
	$(if $(wildcard completions/bash/mq),for name in $(links_bash); do ln -sf mq $(bash_dir)/$$name; done)
	$(if $(wildcard completions/fish/mq.fish),\
		for name in $(links_fish); do ln -sf mq.fish $(fish_dir)/$$name; done)

uninstall:
	rm -f $(addprefix $(call to,$(BINDIR))/,$(tool_names)) $(call to,$(INCLUDEDIR))/libmq.h \
		$(addprefix $(call to,$(LIBDIR))/,libmq.a $(real_name) $(soname) libmq.so pkgconfig/libmq.pc) \
		$(foreach page,$(pages),$(call to,$(MANDIR))/man$(subst .,,$(suffix $(page)))/$(notdir $(page))) \
		$(addprefix $(bash_dir)/,$(notdir $(call completions,bash)) $(links_bash)) \
		$(addprefix $(zsh_dir)/,$(notdir $(call completions,zsh))) \
		$(addprefix $(fish_dir)/,$(notdir $(call completions,fish)) $(links_fish))

clean:
	rm -rf $(BUILD)

help:
	@echo 'make             the tools and the library, in build/'
	@echo 'make check       build, run every test; TESTS="tests/10-*.bats" runs only these'
	@echo 'make demo        build, then watch the tools at work on the names of real files'
	@echo 'make bench       measure; BENCH=send runs one row, SIZE=small|full takes less or more time'
	@echo 'make torture     the whole of the crash tests, some 40 minutes; ROWS="states" takes only these'
	@echo 'make soak        the same over and over, HOURS=8 long, each time with another seed'
	@echo 'make fuzz        each parser and decoder by libFuzzer, for SECONDS=60; TARGETS="glob block" takes only these'
	@echo 'make mutants     break the library in many places, one at a time; is each found?'
	@echo 'make coverage    lines and branches of the library that the suite runs'
	@echo 'make asan        the whole of check with AddressSanitizer and UBSan, in build/asan/'
	@echo 'make strict      build; every warning is an error, whatever the compiler'
	@echo 'make lint        manual, shell scripts, C, layers and symbols; advice on the format'
	@echo 'make install     into PREFIX=/usr/local, below DESTDIR= if given; also uninstall'
	@echo 'make clean       remove what was built'
	@echo 'Variables: BUILD CC CFLAGS CPPFLAGS LDFLAGS WERROR SANITIZE V=1 (show the commands)'
