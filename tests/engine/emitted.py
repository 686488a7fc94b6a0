"""What compilers make of the kernels: the loops of multiply-adds in their assembly.

Reads the text that ``-S`` writes, of x86 in AT&T syntax or of AArch64, so that kernels can be
judged for processors that are not there to run them.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

_FUNCTION = re.compile(r"^([A-Za-z_$][\w.$]*):")
_LABEL = re.compile(r"^(\.L\w+):")
_INSTRUCTION = re.compile(r"^\s+([a-z][\w.]*)[ \t]*(.*)$")
_COMMENT = {"x86": re.compile(r"\s*#.*$"), "aarch64": re.compile(r"\s*//.*$")}
# a branch that may be taken or not: what ends a loop
_BRANCHES = {
    "x86": re.compile(r"^j(?!mp)"),
    "aarch64": re.compile(r"^(b\.?(eq|ne|gt|lt|ge|le|hi|ls|hs|lo|cc|cs|mi|pl)|cbn?z|tbn?z)$"),
}
_MULTIPLY_ADD = {
    "x86": re.compile(r"^(vfmadd\d+ps|mulps)$"),
    "aarch64": re.compile(r"^fmla$"),
}
# rbp is a general register unless the function makes a frame of it
_STACK = {"x86": re.compile(r"\(%rsp\b"), "aarch64": re.compile(r"\[(sp|x29)\b")}
_FRAME = re.compile(r"\(%r[sb]p\b")
_VECTOR = {"x86": re.compile(r"%[xyz]mm\d"), "aarch64": re.compile(r"\b[qvd]\d+\b")}


class Instruction(NamedTuple):
    name: str
    operands: str


class Loop(NamedTuple):
    """An innermost loop with multiply-adds of vectors: the sums of outputs."""

    function: str
    instructions: list[Instruction]
    on_stack: list[Instruction]


def sums(assembly: str, family: str) -> list[Loop]:
    """Return the innermost loops that multiply and add vectors and store none: sums in registers.

    What is stored on the stack does not count as a store: it is what should not be there.
    """
    found = []
    for function, body in _functions(assembly, family):
        stack = _STACK[family]
        if family == "x86" and Instruction("movq", "%rsp, %rbp") in body:
            stack = _FRAME
        for first, last in _innermost(body, family):
            loop = [line for line in body[first : last + 1] if isinstance(line, Instruction)]
            if not any(_is_multiply_add(line, family) for line in loop):
                continue
            if any("cvt" in line.name for line in loop):
                continue  # an exponential: a softmax
            if any(
                _stores_vector(line, family) and not stack.search(line.operands) for line in loop
            ):
                continue
            found.append(Loop(function, loop, [x for x in loop if stack.search(x.operands)]))
    return found


def _functions(assembly: str, family: str) -> Iterator[tuple[str, list[str | Instruction]]]:
    name, body = "", []
    for raw in assembly.splitlines():
        if label := _LABEL.match(raw):
            body.append(label[1])
        elif function := _FUNCTION.match(raw):
            if name:
                yield name, body
            name, body = function[1], []
        elif instruction := _INSTRUCTION.match(_COMMENT[family].sub("", raw)):
            operands = re.sub(r"\s*,\s*", ", ", instruction[2].strip())
            body.append(Instruction(instruction[1], operands))
    if name:
        yield name, body


def _innermost(body: list[str | Instruction], family: str) -> list[tuple[int, int]]:
    """Return the first and last line of each loop that holds neither another nor a return."""
    labels = {line: i for i, line in enumerate(body) if isinstance(line, str)}
    spans = set()
    for i, line in enumerate(body):
        if isinstance(line, Instruction) and _BRANCHES[family].match(line.name):
            target = labels.get(line.operands.split(", ")[-1], i)
            if target < i and not any(
                isinstance(x, Instruction) and x.name.startswith("ret") for x in body[target:i]
            ):
                spans.add((target, i))
    return sorted(
        one
        for one in spans
        if not any(o != one and one[0] <= o[0] and o[1] <= one[1] for o in spans)
    )


def _is_multiply_add(line: Instruction, family: str) -> bool:
    packed = family == "x86" or ".4s" in line.operands
    return packed and _MULTIPLY_ADD[family].match(line.name) is not None


def _stores_vector(line: Instruction, family: str) -> bool:
    if family == "aarch64":
        return line.name in ("str", "stp", "stur") and bool(_VECTOR[family].search(line.operands))
    return (
        line.name.lstrip("v").startswith("mov")
        and line.operands.endswith(")")
        and bool(_VECTOR[family].match(line.operands))
    )
