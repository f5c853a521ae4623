# SPDX-License-Identifier: ISC
#
# Completion of all mq tools in fish. Starts no program but mq-ls, which knows the channels of the
# store that the command line names.

# Each tool has a link to this file: what is there need not be said again.
functions -q __mq_names; and exit

# The operands so far, one a line. Arguments of options are told apart by the letters and names that
# take one; what follows an "=" in the same word needs no telling.
function __mq_operands
    set -l tokens (commandline -opc)
    set -l skip no
    set -l only no
    set -l seen 0
    set -l with_argument store file key header priority ttl delay at type id reply-to correlation resume \
        sync delimiter count wait match lease consumer format output from to last since until speed rate \
        kind rename reason extend parallel batch replace timeout grace retry-on dead-on ack-on group \
        state older keep keep-bytes partition test shift channel backup repair
    for token in $tokens[2..-1]
        if test $skip = yes
            set skip no
        else if test $only = yes
            printf '%s\n' $token
            set seen (math $seen + 1)
        else if test "$token" = --
            set only yes
        else if string match -qr -- '^-[^-]*[skHdnwmFoSUpTDlcPbItgC]$' $token
            set skip yes
        else if string match -qr -- '^--[^=]+$' $token; and contains -- (string sub -s 3 -- $token) $with_argument
            set skip yes
        else if not string match -q -- '-*' $token
            printf '%s\n' $token
            set seen (math $seen + 1)
            # The second operand of mq-exec is a command, and what follows is its own.
            if test $seen -eq 2; and string match -q -- '*mq-exec' $tokens[1]
                set only yes
            end
        end
    end
end

function __mq_operand_is -a number
    test (count (__mq_operands)) -eq (math $number - 1)
end

# Completes the command that mq-exec is to run.
function __mq_command
    set -l operands (__mq_operands)
    complete -C (string join -- ' ' (string escape -- $operands[2..-1]) (commandline -ct))
end

function __mq_in_command
    test (count (__mq_operands)) -ge 2
end

# The words as the next one of a list with commas.
function __mq_list
    set -l done (commandline -ct | string replace -r -- '^--[a-z-]*=' '' | string match -r -- '^.*,')
    for word in $argv
        string match -q -- "*,$word,*" ",$done"; or printf '%s\n' "$done$word"
    end
end

# The argument of -s, as given on the command line; nothing without one.
function __mq_store
    set -l store
    set -l awaited no
    for token in (commandline -opc)
        if test $awaited = yes
            set store $token
            set awaited no
            continue
        end
        switch $token
            case --store -s
                set awaited yes
            case '--store=*'
                set store (string replace -- --store= '' $token)
            case '-s*'
                set store (string sub -s 3 -- $token)
        end
    end
    string replace -r -- '^~/' $HOME/ $store
end

function __mq_ls
    set -l store (__mq_store)
    test -n "$store"; and set store --store=$store
    command -q mq-ls; or return
    command mq-ls -q $store $argv 2>/dev/null </dev/null
end

# The names of the channels of these kinds; without one, of all.
function __mq_names
    if test (count $argv) -eq 0
        __mq_ls --names
    end
    for kind in $argv
        for name in (__mq_ls --names --kind=$kind)
            printf '%s\t%s\n' $name $kind
        end
    end
end

# The names of the groups of this channel; without one, of all.
function __mq_groups
    for row in (__mq_ls --groups -o plain $argv)
        string split -f 2 \t -- $row
    end | sort -u
end

# Names of the stores beside the default one.
function __mq_stores
    set -l base $HOME/.local/share/mq
    set -q XDG_DATA_HOME; and test -n "$XDG_DATA_HOME"; and set base $XDG_DATA_HOME/mq
    test "$EUID" = 0; and set base /var/lib/mq
    for path in $base/*/
        string replace -r -- '.*/([^/]*)/$' '$1' $path
    end
    __fish_complete_directories (commandline -ct | string replace -r -- '^(-s|--store=)' '')
end

function __mq_directories
    __fish_complete_directories (commandline -ct | string replace -r -- '^--[a-z]*=' '')
end

function __mq_has
    for token in (commandline -opc)
        contains -- $token $argv; and return 0
        string match -q -- '--store=*' $token; and contains -- --store $argv; and return 0
    end
    return 1
end

# Whether the tool is to do with a group.
function __mq_grouped
    string match -qr -- '^(-g|--group)' (commandline -opc)
end

# The names of the properties that mq-make can set here, and their values.
function __mq_properties
    set -l operands (__mq_operands)
    set -l kind
    if test (count $operands) -eq 0; or string match -q -- '*=*' $operands[1]
        __mq_has -s --store; and set kind store
    else if __mq_grouped
        set kind group
    else
        for known in queue topic stream
            __mq_has --$known; and set kind $known
        end
        if test -z "$kind"
            set kind (string split -f 2 \t -- (__mq_ls -o plain $operands[1]))
        end
    end
    set -l all max-message= {dedup,ttl,max-messages,max-bytes}={,none}
    switch "$kind"
        case store
            printf '%s\n' create=yes create=no max-bytes= max-bytes=none sync=full sync=relaxed
        case queue
            printf '%s\n' lease= max-attempts={,none} backoff= dead=(__mq_ls --names --kind=queue) dead=none \
                order={key,none} full={error,block,drop-old,dead} $all
        case topic
            printf '%s\n' window= window-age= max-age={,none} full={error,block,drop-old,dead} $all
        case stream
            printf '%s\n' {sealed,audit}={yes,no} partitions= {max-age,max-per-key}={,none} $all
        case group
            printf '%s\n' lease= max-attempts={,none} backoff= dead=(__mq_ls --names --kind=queue) dead=none \
                order={key,none}
    end
end

function __mq_kind_wanted
    if __mq_grouped
        printf '%s\n' stream topic
        return
    end
    for kind in queue topic stream
        __mq_has --$kind; and echo $kind
    end
end

complete -c mq-exec -f
for tool in mq-send mq-recv mq-ack mq-peek mq-move mq-pub mq-sub mq-replay mq-ls mq-make mq-trim mq-rm mq-seek \
    mq-route mq-check
    complete -c $tool -f
    complete -c $tool -s s -l store -x -a '(__mq_stores)' -d 'Store'
    complete -c $tool -s q -l quiet -d 'No notices'
    complete -c $tool -s v -l verbose -d 'Tell more'
    complete -c $tool -s h -l help -d 'Help'
    complete -c $tool -s V -l version -d 'Version'
end

for tool in mq-send mq-pub
    complete -c $tool -l file -r -F -d 'The whole file is one message'
    complete -c $tool -s k -l key -x -d 'Key'
    complete -c $tool -s H -l header -x -d 'Header NAME=VALUE'
    complete -c $tool -s p -l priority -x -d '0 to 9, higher first'
    complete -c $tool -s T -l ttl -x -d 'Expires after this'
    complete -c $tool -s w -l wait -x -a forever -d 'Wait for room where it is full'
    complete -c $tool -l resume -x -d 'Skip what earlier runs under this name have sent'
    complete -c $tool -l type -x -d 'Content type'
    complete -c $tool -l id -x -d 'Id given by the sender'
    complete -c $tool -l reply-to -x -a '(__mq_names queue)' -d 'Queue for answers'
    complete -c $tool -l correlation -x -d 'Id that the answer repeats'
    complete -c $tool -l atomic -d 'All of the input in one transaction'
    complete -c $tool -l sync -x -a 'full relaxed' -d 'When a commit returns'
    complete -c $tool -l print-position -d 'Print where each message was stored'
    complete -c $tool -l no-create -d 'A missing channel is an error'
    complete -c $tool -l progress -d 'Messages, bytes, rate on stderr'
    complete -c $tool -s j -l json -d 'Each line is an envelope'
    complete -c $tool -s 0 -l null -d 'Messages end in NUL'
    complete -c $tool -s d -l delimiter -x -d 'Messages end in this string'
    complete -c $tool -s r -l raw -d 'The whole of stdin is one message'
end

complete -c mq-send -s D -l delay -x -d 'Not delivered before this has passed'
complete -c mq-send -l at -x -a tomorrow -d 'Not delivered before this time'

complete -c mq-pub -l partition -x -d 'Publish to this partition of the stream'
complete -c mq-pub -l expect -x -d 'Only if the first message gets this offset'
complete -c mq-pub -l expect-key -x -a none -d 'Only if this is the newest offset of the key'
complete -c mq-pub -l mandatory -d 'Only if somebody would keep it'
complete -c mq-pub -l tombstone -d 'An empty message: the key is no more'

for tool in mq-recv mq-sub mq-replay
    complete -c $tool -s n -l count -x -d 'Stop after so many messages'
    complete -c $tool -s w -l wait -x -a forever -d 'Wait for the next message'
    complete -c $tool -s e -l drain -d 'Stop when nothing is left'
    complete -c $tool -s f -l follow -d 'Never stop'
    complete -c $tool -s k -l key -x -d 'Only keys that match'
    complete -c $tool -s m -l match -x -d 'Only headers that match NAME=GLOB'
    complete -c $tool -s j -l json -d 'JSON envelope, one object a line'
    complete -c $tool -s 0 -l null -d 'Messages end in NUL'
    complete -c $tool -s d -l delimiter -x -d 'Messages end in this string'
    complete -c $tool -s r -l raw -d 'Bodies and nothing else'
    complete -c $tool -s F -l format -x -d 'Template'
    complete -c $tool -s o -l output -x -a 'body json json-data' -d 'Form of output'
end

for tool in mq-sub mq-replay mq-peek
    complete -c $tool -l from -x -a 'first end' -d 'From this offset on'
    complete -c $tool -l last -x -d 'Start so many messages before the end'
    complete -c $tool -s S -l since -x -a 'now today yesterday' -d 'From this time on'
end

for tool in mq-recv mq-sub
    complete -c $tool -s l -l lease -x -d 'Keep the messages leased'
    complete -c $tool -s c -l consumer -x -d 'Name in listings'
end

complete -c mq-sub -s g -l group -x -a '(__mq_groups)' -d 'As a member of this group'
complete -c mq-sub -l partition -x -d 'Only this partition of streams'
complete -c mq-sub -l create-only -d 'Make the groups, read nothing'
complete -c mq-sub -l no-create -d 'A missing channel or group is an error'
complete -c mq-sub -l strict -d 'End with 2 if messages were missed'

complete -c mq-ack -l retry -d 'Deliver again after the back-off'
complete -c mq-ack -s D -l delay -x -d 'With --retry: after this'
complete -c mq-ack -l uncounted -d 'With --retry: as if not delivered'
complete -c mq-ack -l dead -d 'Move to the dead letters'
complete -c mq-ack -l reason -x -d Why
complete -c mq-ack -l extend -x -d 'Keep the lease'

# option OPTION...: of mq-exec, up to where its command begins.
function __mq_exec_option
    complete -c mq-exec -n 'not __mq_in_command' $argv
end
__mq_exec_option -s s -l store -x -a '(__mq_stores)' -d Store
__mq_exec_option -s q -l quiet -d 'No notices'
__mq_exec_option -s v -l verbose -d 'Tell more'
__mq_exec_option -s h -l help -d Help
__mq_exec_option -s V -l version -d Version
__mq_exec_option -s P -l parallel -x -d 'So many commands at a time'
__mq_exec_option -s b -l batch -x -d 'So many messages to one run'
__mq_exec_option -s I -l replace -x -d 'Put the body into the arguments'
__mq_exec_option -s t -l timeout -x -d 'End a command that runs longer'
__mq_exec_option -l grace -x -d 'Between TERM and KILL'
__mq_exec_option -s e -l drain -d 'Stop when nothing is ready'
__mq_exec_option -s f -l follow -d 'Never stop'
__mq_exec_option -s n -l count -x -d 'Stop after so many messages'
__mq_exec_option -s w -l wait -x -a forever -d 'Stop when there was none for so long'
__mq_exec_option -s k -l key -x -d 'Only keys that match'
__mq_exec_option -s m -l match -x -d 'Only headers that match NAME=GLOB'
__mq_exec_option -l rate -x -d 'At most so many messages a second'
__mq_exec_option -l retry-on -x -d 'Exit statuses that mean retry'
__mq_exec_option -l dead-on -x -d 'Exit statuses that mean dead letter'
__mq_exec_option -l ack-on -x -d 'Exit statuses that mean acknowledge'
__mq_exec_option -s g -l group -x -a '(__mq_groups)' -d 'Work for a group'
__mq_exec_option -l from -x -a 'first end' -d 'Where a new group starts'
__mq_exec_option -s S -l since -x -a 'now today yesterday' -d 'A new group starts at this time'
__mq_exec_option -l last -x -d 'A new group starts so many messages before the end'
__mq_exec_option -s c -l consumer -x -d 'Name in listings'
__mq_exec_option -l to -x -a '(__mq_names)' -d 'The output becomes messages there'
__mq_exec_option -l sync -x -a 'full relaxed' -d 'When a commit returns'
__mq_exec_option -l no-create -d 'A missing channel is an error'
__mq_exec_option -s j -l json -d 'Each line of the output is an envelope'
__mq_exec_option -s 0 -l null -d 'Messages in it end in NUL'
__mq_exec_option -s d -l delimiter -x -d 'Messages in it end in this string'
__mq_exec_option -s r -l raw -d 'The whole of it is one message'

complete -c mq-peek -s n -l count -x -d 'Stop after so many messages'
complete -c mq-peek -l state -x -a '(__mq_list ready leased delayed retry blocked expired)' \
    -d 'Only these states'
complete -c mq-peek -s k -l key -x -d 'Only keys that match'
complete -c mq-peek -s m -l match -x -d 'Only headers that match NAME=GLOB'
complete -c mq-peek -s j -l json -d 'JSON envelope, one object a line'
complete -c mq-peek -s 0 -l null -d 'Messages end in NUL'
complete -c mq-peek -s d -l delimiter -x -d 'Messages end in this string'
complete -c mq-peek -s r -l raw -d 'Bodies and nothing else'
complete -c mq-peek -s F -l format -x -d Template
complete -c mq-peek -s o -l output -x -a 'body json json-data table plain' -d 'Form of output'

complete -c mq-move -l redrive -d 'Dead letters go back to where they came from'
complete -c mq-move -l copy -d 'Leave the messages there too'
complete -c mq-move -s n -l count -x -d 'Stop after so many messages'
complete -c mq-move -s k -l key -x -d 'Only keys that match'
complete -c mq-move -s m -l match -x -d 'Only headers that match NAME=GLOB'
complete -c mq-move -l reason -x -a 'failed crashed timeout rejected expired overflow' \
    -d 'Only dead letters with this reason'
complete -c mq-move -l older -x -d 'Only messages older than this'
complete -c mq-move -l rate -x -d 'At most so many messages a second'
complete -c mq-move -l dry-run -d 'Print what would be moved'
complete -c mq-move -l sync -x -a 'full relaxed' -d 'When a commit returns'
complete -c mq-move -l no-create -d 'A missing channel is an error'
complete -c mq-move -l progress -d 'Messages and rate on stderr'

complete -c mq-check -s C -l channel -x -a '(__mq_names)' -d 'Only channels that match'
complete -c mq-check -s o -l output -x -a 'table plain json' -d 'Form of output, of all channels'
complete -c mq-check -l backup -x -a '(__mq_directories)' -d 'A copy of the store'
complete -c mq-check -l repair -x -a '(__mq_directories)' -d 'Save what can be read'
complete -c mq-check -l compact -d 'Give free pages back'
complete -c mq-check -l readers -d 'Who has the store open'

complete -c mq-trim -l keep -x -d 'All but the newest so many'
complete -c mq-trim -l keep-bytes -x -d 'All but the newest of this size'
complete -c mq-trim -l older -x -d 'What is older than this'
complete -c mq-trim -l to -x -a 'first end' -d 'What is before this offset'
complete -c mq-trim -s a -l all -d 'Every message'
complete -c mq-trim -l retain -d 'What the limits of the channels no longer keep'
complete -c mq-trim -s y -l yes -d 'Do not ask'
complete -c mq-trim -l dry-run -d 'Print what would be dropped'

complete -c mq-replay -l speed -x -d 'Keep the distances in time, divided by this'
for tool in mq-replay mq-peek
    complete -c $tool -l to -x -a 'first end' -d 'Up to, not including, this offset'
    complete -c $tool -s U -l until -x -a 'now today yesterday' -d 'Up to, not including, this time'
end
complete -c mq-replay -l rate -x -d 'At most so many messages a second'
complete -c mq-replay -l loop -d 'Again and again'
complete -c mq-replay -l last-per-key -d 'Only the last message of each key'
complete -c mq-replay -l reverse -d 'The newest first'
complete -c mq-replay -l partition -x -d 'Only this partition of streams'
complete -c mq-replay -l strict -d 'End with 2 if messages were missed'

complete -c mq-ls -s o -l output -x -a 'table plain json' -d 'Form of output'
complete -c mq-ls -l names -d 'Names only, one a line'
complete -c mq-ls -l kind -x -a 'queue topic stream' -d 'Only channels of this kind'

complete -c mq-ls -l groups -d 'Groups of topics and streams'
complete -c mq-ls -l routes -d Routes

for tool in mq-make mq-rm
    complete -c $tool -s g -l group -x -a '(__mq_groups)' -d Group
end
complete -c mq-make -l from -x -a 'first end' -d 'Where a new group starts'
complete -c mq-make -s S -l since -x -a 'now today yesterday' -d 'A new group starts at this time'
complete -c mq-make -l last -x -d 'A new group starts so many messages before the end'

complete -c mq-seek -l from -x -a 'first end' -d 'Move to this offset'
complete -c mq-seek -s S -l since -x -a 'now today yesterday' -d 'To this time'
complete -c mq-seek -l last -x -d 'To so many messages before the end'
complete -c mq-seek -l shift -x -d 'By so many messages'
complete -c mq-seek -l partition -x -d 'This partition only'
complete -c mq-seek -l dry-run -d 'Print what would be moved'
complete -c mq-seek -l export -d 'Print positions'
complete -c mq-seek -l import -d 'Read positions from stdin'
complete -c mq-seek -s o -l output -x -a 'table plain json' -d 'Form of output'

complete -c mq-route -s k -l key -x -d 'Only keys that match'
complete -c mq-route -s m -l match -x -d 'Only headers that match NAME=GLOB'
complete -c mq-route -l any -d 'One of several -m is enough'
complete -c mq-route -l no-create -d 'A missing channel is an error'
complete -c mq-route -l remove -d 'Remove routes'
complete -c mq-route -l test -x -a '(__mq_names stream topic)' -d 'Print where a message would go'
complete -c mq-route -s H -l header -x -d 'With --test: NAME=VALUE'
complete -c mq-route -s o -l output -x -a 'table plain json' -d 'Form of the list'

complete -c mq-make -l queue -d 'A queue'
complete -c mq-make -l topic -d 'A topic'
complete -c mq-make -l stream -d 'A stream'
complete -c mq-make -l rename -x -d 'Give the channel this name'

complete -c mq-rm -s a -l all -d 'Every channel of the store'
complete -c mq-rm -s y -l yes -d 'Do not ask'
complete -c mq-rm -l dry-run -d 'Print what would be deleted'

for tool in mq-send mq-recv mq-peek mq-move
    complete -c $tool -n '__mq_operand_is 1' -a '(__mq_names queue)'
end
for tool in mq-pub mq-seek
    complete -c $tool -n '__mq_operand_is 1' -a '(__mq_names stream topic)'
end
for tool in mq-sub mq-replay
    complete -c $tool -a '(__mq_names stream topic)'
end
complete -c mq-ls -a '(__mq_names)'
complete -c mq-route -n '__mq_operand_is 1' -a '(__mq_names stream topic)'
complete -c mq-route -n '__mq_operand_is 2' -a '(__mq_names)'
complete -c mq-route -n '__mq_has --remove' -a '(__mq_ls --routes -o plain | string split -f 1 \t)'
complete -c mq-seek -n '__mq_operand_is 2' -a '(__mq_groups (__mq_operands))'
complete -c mq-rm -n 'not __mq_grouped' -a '(__mq_names)'
complete -c mq-rm -n __mq_grouped -a '(__mq_names stream topic)'
complete -c mq-trim -a '(__mq_names)'
complete -c mq-check -n '__mq_operand_is 1' -a '(__mq_stores)'
complete -c mq-move -n '__mq_operand_is 2; and not __mq_has --redrive' -a '(__mq_names)'
complete -c mq-exec -n '__mq_operand_is 1; and not __mq_grouped' -a '(__mq_names queue)'
complete -c mq-exec -n '__mq_operand_is 1; and __mq_grouped' -a '(__mq_names stream topic)'
complete -c mq-exec -n 'test (count (__mq_operands)) -ge 1' -a '(__mq_command)'
complete -c mq-make -n '__mq_operand_is 1' -a '(__mq_names (__mq_kind_wanted))'
complete -c mq-make -a '(__mq_properties)'
