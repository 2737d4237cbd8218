// SPDX-License-Identifier: GPL-2.0

//! Completion for shells: clap writes the scripts, which know commands and options; for bash they are told
//! how to ask the kernel for the names of sets, and which settings there are.

use crate::{
    cli::{Cli, Shell},
    control::{choices, SETTINGS},
    error::Result,
    nl::{sets, Kernel},
};
use clap::{Arg, ArgAction, Command, CommandFactory};
use clap_complete::{generate, shells};
use std::io::Write;

/// A script for a shell.
///
/// # Errors
///
/// It cannot be written.
pub fn script(shell: Shell, out: &mut dyn Write) -> Result<()> {
    let mut cmd = Cli::command();
    let mut text = Vec::new();
    match shell {
        Shell::Bash => {
            generate(shells::Bash, &mut cmd, "rcopy", &mut text);
            text.extend(names_for_bash(&cmd).bytes());
        }
        Shell::Zsh => generate(shells::Zsh, &mut cmd, "rcopy", &mut text),
        Shell::Fish => generate(shells::Fish, &mut cmd, "rcopy", &mut text),
    }
    out.write_all(&text)?;
    Ok(())
}

/// The names of the sets in this network namespace.
///
/// # Errors
///
/// There is no module.
pub fn names(kernel: &mut dyn Kernel, out: &mut dyn Write) -> Result<()> {
    for s in sets(kernel, None)? {
        writeln!(out, "{}", s.text("name"))?;
    }
    Ok(())
}

fn takes_set(cmd: &Command) -> bool {
    let first = cmd.get_positionals().next();
    first.is_some_and(|a| a.get_id() == "set")
}

/// Options behind which a value stands that may not be left out.
fn with_value(cmd: &Command) -> impl Iterator<Item = &Arg> {
    cmd.get_opts().filter(|a| {
        let optional = a.get_num_args().is_some_and(|n| n.min_values() == 0);
        matches!(a.get_action(), ArgAction::Set) && !optional
    })
}

/// A function around clap's, which has the name of the set where one is wanted.
fn names_for_bash(cmd: &Command) -> String {
    let commands: Vec<&Command> = cmd.get_subcommands().filter(|c| takes_set(c)).collect();
    let names: Vec<&str> = commands.iter().map(|c| c.get_name()).collect();
    let mut skipped: Vec<String> = commands
        .iter()
        .flat_map(|c| with_value(c))
        .filter_map(|a| Some(format!("--{}", a.get_long()?)))
        .collect();
    skipped.sort();
    skipped.dedup();
    let values: Vec<String> = SETTINGS
        .iter()
        .filter(|s| !choices(s).is_empty())
        .map(|s| format!("{s}) words=\"{}\" ;;", choices(s).join(" ")))
        .collect();
    BASH.replace("@COMMANDS@", &names.join("|"))
        .replace(
            "@SKIPPED@",
            if skipped.is_empty() {
                "''".to_string()
            } else {
                skipped.join("|")
            }
            .as_str(),
        )
        .replace(
            "@SETTINGS@",
            &SETTINGS
                .iter()
                .map(|s| format!("{s}="))
                .collect::<Vec<_>>()
                .join(" "),
        )
        .replace("@VALUES@", &values.join("\n            "))
}

const BASH: &str = r#"
# Names of sets, as the kernel has them, and settings; everything else is above.
_rcopy_names() {
    local command= at=0 i word words key
    _rcopy "$@"
    case $2 in -*) return 0 ;; esac
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        case $word in
            @SKIPPED@) i=$((i + 1)) ;;
            -*) ;;
            *)
                if [ -z "$command" ]; then command=$word; else at=$((at + 1)); fi
                ;;
        esac
    done
    # The value of an option is no name.
    case ${COMP_WORDS[COMP_CWORD-1]} in @SKIPPED@) return 0 ;; esac
    case $command in
        @COMMANDS@) ;;
        *) return 0 ;;
    esac
    if [ $at = 0 ]; then
        words=$("$1" names 2>/dev/null) || return 0
        COMPREPLY=( $(compgen -W "$words" -- "$2") )
        return 0
    fi
    [ "$command" = set ] || return 0
    # "=" parts words: mode = s.
    key= word=$2
    if [ "$word" = "=" ]; then
        key=${COMP_WORDS[COMP_CWORD-1]} word=
    elif [ "${COMP_WORDS[COMP_CWORD-1]}" = "=" ]; then
        key=${COMP_WORDS[COMP_CWORD-2]}
    fi
    words=
    case $key in
        '')
            words="@SETTINGS@"
            compopt -o nospace 2>/dev/null
            ;;
            @VALUES@
    esac
    COMPREPLY=( $(compgen -W "$words" -- "$word") )
}
complete -F _rcopy_names -o nosort -o bashdefault -o default rcopy 2>/dev/null ||
    complete -F _rcopy_names -o bashdefault -o default rcopy
"#;
