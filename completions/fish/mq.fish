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
    for token in $tokens[2..-1]
        if test $skip = yes
            set skip no
        else if test $only = yes
            printf '%s\n' $token
        else if test "$token" = --
            set only yes
        else if string match -qr -- '^-[^-]*[skHdnwmFoSU]$' $token
            set skip yes
        else if string match -qr -- '^--(store|file|key|header|type|id|reply-to|correlation|sync|delimiter|count|wait|match|format|output|from|to|last|since|until|speed|rate|kind|rename)$' $token
            set skip yes
        else if not string match -q -- '-*' $token
            printf '%s\n' $token
        end
    end
end

function __mq_operand_is -a number
    test (count (__mq_operands)) -eq (math $number - 1)
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

function __mq_has
    for token in (commandline -opc)
        contains -- $token $argv; and return 0
        string match -q -- '--store=*' $token; and contains -- --store $argv; and return 0
    end
    return 1
end

# The names of the properties that mq-make can set here, and their values.
function __mq_properties
    set -l operands (__mq_operands)
    set -l kind
    if test (count $operands) -eq 0; or string match -q -- '*=*' $operands[1]
        __mq_has -s --store; and set kind store
    else
        for known in queue topic stream
            __mq_has --$known; and set kind $known
        end
        if test -z "$kind"
            set kind (string split -f 2 \t -- (__mq_ls -o plain $operands[1]))
        end
    end
    set -l limits max-age=none max-bytes=none max-messages=none max-age= max-bytes= max-messages=
    switch "$kind"
        case store
            printf '%s\n' create=yes create=no max-bytes= max-bytes=none sync=full sync=relaxed
        case queue
            printf '%s\n' max-message=
        case topic
            printf '%s\n' max-message= window= window-age= $limits
        case stream
            printf '%s\n' max-message= sealed=yes sealed=no $limits
    end
end

function __mq_kind_wanted
    for kind in queue topic stream
        __mq_has --$kind; and echo $kind
    end
end

for tool in mq-send mq-recv mq-pub mq-sub mq-replay mq-ls mq-make mq-rm
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

for tool in mq-sub mq-replay
    complete -c $tool -l from -x -a 'first end' -d 'From this offset on'
    complete -c $tool -l last -x -d 'Start so many messages before the end'
    complete -c $tool -s S -l since -x -a 'now today yesterday' -d 'From this time on'
end

complete -c mq-replay -l to -x -a 'first end' -d 'Up to, not including, this offset'
complete -c mq-replay -s U -l until -x -a 'now today yesterday' -d 'Up to, not including, this time'
complete -c mq-replay -l speed -x -d 'Keep the distances in time, divided by this'
complete -c mq-replay -l rate -x -d 'At most so many messages a second'

complete -c mq-ls -s o -l output -x -a 'table plain json' -d 'Form of output'
complete -c mq-ls -l names -d 'Names only, one a line'
complete -c mq-ls -l kind -x -a 'queue topic stream' -d 'Only channels of this kind'

complete -c mq-make -l queue -d 'A queue'
complete -c mq-make -l topic -d 'A topic'
complete -c mq-make -l stream -d 'A stream'
complete -c mq-make -l rename -x -d 'Give the channel this name'

complete -c mq-rm -s a -l all -d 'Every channel of the store'
complete -c mq-rm -s y -l yes -d 'Do not ask'
complete -c mq-rm -l dry-run -d 'Print what would be deleted'

for tool in mq-send mq-recv
    complete -c $tool -n '__mq_operand_is 1' -a '(__mq_names queue)'
end
for tool in mq-pub mq-replay
    complete -c $tool -n '__mq_operand_is 1' -a '(__mq_names stream topic)'
end
complete -c mq-sub -a '(__mq_names stream topic)'
complete -c mq-ls -a '(__mq_names)'
complete -c mq-rm -a '(__mq_names)'
complete -c mq-make -n '__mq_operand_is 1' -a '(__mq_names (__mq_kind_wanted))'
complete -c mq-make -a '(__mq_properties)'
