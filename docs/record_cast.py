"""Records docs/cast.svg from a real cluster: `python3 docs/record_cast.py [PROGRAM]`. Needs npx, which node brings.

PROGRAM is a `cluster` that is built already; without it, cargo builds and runs it.
"""
import json, os, pty, re, select, subprocess, sys, tempfile, time
from pathlib import Path

COMMAND = "cargo run --release --bin cluster -- 1 3 42"
COLUMNS, ROWS = 112, 30
# Each prompt, and the keys that answer it: rate a movie, read the rating, quit.
ANSWERS = [("> ", "2"), ("back): ", "lune"), ("back): ", "4.5"), ("> ", "3"), ("back): ", "1"), ("> ", "8")]
TYPING, READING, PATIENCE = 0.15, 1.8, 300  # seconds a key, seconds an answer, seconds until a prompt is missed
SVG_TERM = "svg-term-cli@2.1.1"


def record(state):
    """Runs the command in a terminal of its own. Returns the pieces of its output, each with its time."""
    process, terminal = pty.fork()
    if process == 0:
        os.environ.update(COLUMNS=str(COLUMNS), LINES=str(ROWS), TERM="xterm-256color", NATTER_STATE=state)
        subprocess.run(["stty", "cols", str(COLUMNS), "rows", str(ROWS)], check=True)
        cargo, arguments = COMMAND.replace("run", "run --quiet", 1).split(" -- ")
        program = sys.argv[1:] or [*cargo.split(), "--"]
        os.execvp(program[0], [*program, *arguments.split()])
    begun, shown, pieces = time.monotonic(), "", []

    def until(is_over, seconds):
        """Takes in the output until `is_over` holds of what came. Returns whether it did."""
        nonlocal shown
        deadline = time.monotonic() + seconds
        while not is_over(shown) and (left := deadline - time.monotonic()) > 0:
            if not select.select([terminal], [], [], left)[0]:
                break
            try:
                text = os.read(terminal, 65536).decode()
            except OSError:  # the program has ended
                return True
            pieces.append((time.monotonic() - begun, text))
            shown += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
        return is_over(shown)

    for prompt, answer in ANSWERS:
        if not until(lambda text: text.endswith(prompt), PATIENCE):
            sys.exit(f"no prompt {prompt!r} within {PATIENCE} s, but:\n{shown}")
        until(lambda _: False, READING)
        shown = ""
        for key in answer + "\r":
            os.write(terminal, key.encode())
            until(lambda _: False, TYPING)
    until(lambda _: False, PATIENCE)
    os.waitpid(process, 0)
    return pieces


def main():
    folder = Path(__file__).parent
    os.chdir(folder.parent)
    typed = [(index * TYPING / 3, key) for index, key in enumerate("$ " + COMMAND + "\r\n")]
    begun = typed[-1][0] + 0.5
    with tempfile.TemporaryDirectory() as state:
        recorded = record(state)
    # The place of the program on this machine tells nobody anything.
    built = Path(sys.argv[1]).resolve().parent if sys.argv[1:] else Path("target/release").resolve()
    pieces = typed + [(begun + at, text.replace(str(built), "…/target/release")) for at, text in recorded]
    pieces.append((pieces[-1][0] + 2 * READING, " "))  # time to read the end
    head = {"version": 2, "width": COLUMNS, "height": ROWS}
    lines = [head] + [[round(at, 2), "o", text] for at, text in pieces]
    cast = "\n".join(json.dumps(line) for line in lines)
    draw = ["npx", "--yes", SVG_TERM, "--window", "--no-cursor", "--out", str(folder / "cast.svg")]
    subprocess.run(draw, input=cast.encode(), check=True)


main()
