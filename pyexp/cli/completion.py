"""Completion scripts for shells, made from the commands' own parsers."""

from __future__ import annotations

from pyexp.cli import main


def _words() -> dict[str, list[str]]:
    """What may follow each command: '' the commands, 'exp' its subcommands, 'exp run' its options."""
    names = [name for name in main.TABLE if " " not in name]
    words = {"": sorted([*names, *main.GROUPS])}
    for name in (name for name, (_, summary) in main.TABLE.items() if summary):
        group, _, command = name.partition(" ")
        if command:
            words.setdefault(group, []).append(command)
        parser = main.build_parser(name)
        words[name] = sorted(
            {option for action in parser._actions for option in action.option_strings if option.startswith("--")}
        )
    return words


def script(shell: str) -> str:
    """The script for one shell: ``eval "$(pyexp completion -s bash)"``."""
    words = _words()
    if shell == "fish":
        return "\n".join(_fish(words))
    cases = "\n".join(f'    "{command}") words="{" ".join(found)}" ;;' for command, found in words.items() if command)
    body = f"""_pyexp() {{
  local cur words command
  cur="${{COMP_WORDS[COMP_CWORD]}}"
  command="${{COMP_WORDS[1]}}"
  if [ "$COMP_CWORD" -eq 1 ]; then command=""; fi
  case "$command" in {"|".join(main.GROUPS)})
    if [ "$COMP_CWORD" -gt 2 ]; then command="$command ${{COMP_WORDS[2]}}"; fi ;;
  esac
  case "$command" in
    "") words="{" ".join(words[""])}" ;;
{cases}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
  if [ ${{#COMPREPLY[@]}} -eq 0 ]; then COMPREPLY=($(compgen -f -- "$cur")); fi
}}
complete -o filenames -F _pyexp pyexp"""
    return f"autoload -U +X bashcompinit && bashcompinit\n{body}" if shell == "zsh" else body


def _fish(words: dict[str, list[str]]) -> list[str]:
    lines = ["complete -c pyexp -f"]
    for command, found in words.items():
        if command == "":
            lines.append(f"complete -c pyexp -n __fish_use_subcommand -a '{' '.join(found)}'")
        elif command in main.GROUPS:
            known = " ".join(found)
            seen = f"__fish_seen_subcommand_from {command}; and not __fish_seen_subcommand_from {known}"
            lines.append(f"complete -c pyexp -n '{seen}' -a '{known}'")
        else:
            seen = "; and ".join(f"__fish_seen_subcommand_from {part}" for part in command.split())
            lines += [f"complete -c pyexp -n '{seen}' -l {option[2:]}" for option in found]
    return lines
