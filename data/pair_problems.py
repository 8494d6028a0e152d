"""Problems that only the contrastive pairs use: statement, inputs, three right bodies, one wrong edit of each.

Written for this project; `make_pairs.py` turns them into data/pairs/*.jsonl. A body is the inside of the method.
An edit (old, new) replaces one fragment of its body and must make some test fail; it keeps the length, so that
"wrong" does not also mean "shorter". Inputs beyond the two shown ones come from `draw(rng)`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, eq=False)  # compared and hashed as the object it is
class Seed:
    name: str  # method of class Solution
    args: str  # "nums: List[int], k: int"
    returns: str
    text: str
    limits: tuple[str, ...]
    shown: tuple[tuple, ...]  # arguments of the examples in the statement
    draw: Callable[[Random], tuple]
    bodies: tuple[tuple[str, str, str], ...]  # (body, old, new) x 3
    split: str = "train"


def ints(rng: Random, low: int, high: int, most: int = 9, least: int = 1) -> list[int]:
    return [rng.randint(low, high) for _ in range(rng.randint(least, most))]


def letters(rng: Random, alphabet: str, most: int = 10, least: int = 1) -> str:
    return "".join(rng.choice(alphabet) for _ in range(rng.randint(least, most)))


def table(rng: Random, low: int, high: int, rows: int = 4, cols: int = 4) -> list[list[int]]:
    n_rows, n_cols = rng.randint(1, rows), rng.randint(1, cols)
    return [[rng.randint(low, high) for _ in range(n_cols)] for _ in range(n_rows)]


SEEDS: tuple[Seed, ...] = (
    Seed(
        "ferryTrips", "weights: List[int], cap: int", "int",
        "People wait for a small ferry in a fixed queue; weights[i] is the weight of the i-th person. On each "
        "trip the ferry boards people from the front of the queue for as long as their total weight does not "
        "exceed cap, then it leaves. Nobody may be overtaken.\nReturn the number of trips needed to carry "
        "everybody across.",
        ("1 <= weights.length <= 1000", "1 <= weights[i] <= cap <= 10^6"),
        (([4, 3, 5, 2], 8), ([5, 5, 5], 5)),
        lambda r: (ints(r, 1, 9), r.randint(9, 20)),
        (
            ("""
trips, load = 1, 0
for w in weights:
    if load + w > cap:
        trips += 1
        load = 0
    load += w
return trips
""", "load + w > cap", "load + w >= cap"),
            ("""
trips = 0
i = 0
while i < len(weights):
    room = cap
    while i < len(weights) and weights[i] <= room:
        room -= weights[i]
        i += 1
    trips += 1
return trips
""", "weights[i] <= room", "weights[i] <= cap"),
            ("""
boats = []
for w in weights:
    if boats and boats[-1] + w <= cap:
        boats[-1] += w
    else:
        boats.append(w)
return len(boats)
""", "boats[-1] + w <= cap", "min(boats) + w <= cap"),
        ),
    ),
    Seed(
        "longestCalmSpell", "readings: List[int], limit: int", "int",
        "A weather mast writes one wind reading a minute. A spell is a block of consecutive minutes, and it is "
        "calm when every two neighbouring readings in it differ by at most limit.\nReturn the length of the "
        "longest calm spell. A single minute is always calm.",
        ("1 <= readings.length <= 10^5", "0 <= readings[i], limit <= 10^4"),
        (([3, 4, 9, 8, 7], 1), ([5, 1, 5], 2)),
        lambda r: (ints(r, 0, 9), r.randint(0, 4)),
        (
            ("""
best = run = 1
for a, b in zip(readings, readings[1:]):
    run = run + 1 if abs(a - b) <= limit else 1
    best = max(best, run)
return best
""", "abs(a - b) <= limit", "abs(a - b) < limit"),
            ("""
start = 0
best = 1
for i in range(1, len(readings)):
    if abs(readings[i] - readings[i - 1]) > limit:
        start = i
    best = max(best, i - start + 1)
return best
""", "i - start + 1", "i - start + 0"),
            ("""
breaks = [0]
for i in range(1, len(readings)):
    if abs(readings[i] - readings[i - 1]) > limit:
        breaks.append(i)
breaks.append(len(readings))
return max(q - p for p, q in zip(breaks, breaks[1:]))
""", "return max(q - p", "return min(q - p"),
        ),
    ),
    Seed(
        "mirrorRepairs", "tiles: str", "int",
        "A frieze is a string of lowercase letters called tiles. It looks right only when it reads the same "
        "from both ends. In one repair you repaint one tile with any letter.\nReturn the least number of "
        "repairs after which the frieze reads the same from both ends.",
        ("1 <= tiles.length <= 10^5", "tiles holds lowercase English letters only"),
        (("paper",), ("noon",)),
        lambda r: (letters(r, "abc"),),
        (
            ("""
left, right = 0, len(tiles) - 1
repairs = 0
while left < right:
    if tiles[left] != tiles[right]:
        repairs += 1
    left += 1
    right -= 1
return repairs
""", "tiles[left] != tiles[right]", "tiles[left] != tiles[left + 1]"),
            ("""
half = len(tiles) // 2
return sum(1 for i in range(half) if tiles[i] != tiles[-1 - i])
""", "half = len(tiles) // 2", "half = len(tiles) // 3"),
            ("""
mismatched = 0
for a, b in zip(tiles, reversed(tiles)):
    if a != b:
        mismatched += 1
return mismatched // 2
""", "return mismatched // 2", "return mismatched // 1"),
        ),
    ),
    Seed(
        "dialAfter", "moves: str", "int",
        "A dial with the positions 0 to 99 starts at 50. The string moves is read from left to right: 'U' turns "
        "the dial one position up, 'D' one position down, and 'X' doubles the position. Positions are always "
        "taken modulo 100.\nReturn the final position.",
        ("0 <= moves.length <= 10^5", "moves holds only 'U', 'D' and 'X'"),
        (("UXD",), ("DDX",)),
        lambda r: (letters(r, "UDX", 12),),
        (
            ("""
pos = 50
for m in moves:
    if m == "U":
        pos += 1
    elif m == "D":
        pos -= 1
    else:
        pos *= 2
    pos %= 100
return pos
""", "pos *= 2", "pos += 2"),
            ("""
step = {"U": lambda p: p + 1, "D": lambda p: p - 1, "X": lambda p: 2 * p}
pos = 50
for m in moves:
    pos = step[m](pos) % 100
return pos
""", "lambda p: p - 1", "lambda p: p + 2"),
            ("""
scale, shift = 1, 0
for m in moves:
    if m == "X":
        scale, shift = 2 * scale, 2 * shift
    else:
        shift += 1 if m == "U" else -1
return (50 * scale + shift) % 100
""", "2 * scale, 2 * shift", "2 * scale, 1 * shift"),
        ),
    ),
    Seed(
        "peakCaravans", "arrive: List[int], leave: List[int]", "int",
        "Caravan i camps at the oasis from day arrive[i] up to, but not including, day leave[i].\nReturn the "
        "largest number of caravans that camp there on the same day.",
        ("1 <= arrive.length == leave.length <= 10^4", "0 <= arrive[i] < leave[i] <= 10^4"),
        (([1, 2, 4], [3, 5, 6]), ([0, 3], [3, 4])),
        lambda r: tuple(map(list, zip(*[(a, a + r.randint(1, 4)) for a in ints(r, 0, 8)], strict=True))),
        (
            ("""
events = [(d, 1) for d in arrive] + [(d, -1) for d in leave]
best = now = 0
for _, change in sorted(events):
    now += change
    best = max(best, now)
return best
""", "for _, change in sorted(events)", "for _, change in list(events)"),
            ("""
change = [0] * (max(leave) + 1)
for a, b in zip(arrive, leave):
    change[a] += 1
    change[b] -= 1
best = now = 0
for c in change:
    now += c
    best = max(best, now)
return best
""", "change[b] -= 1", "change[a] -= 1"),
            ("""
best = 0
for day in arrive:
    here = sum(1 for a, b in zip(arrive, leave) if a <= day < b)
    best = max(best, here)
return best
""", "a <= day < b", "a < day <= b"),
        ),
    ),
    Seed(
        "lanternPairs", "heights: List[int], gap: int", "int",
        "Lanterns hang along a street, the i-th one at heights[i]. Two lanterns match when their heights differ "
        "by exactly gap.\nReturn how many pairs of indices i < j belong to matching lanterns.",
        ("1 <= heights.length <= 10^5", "0 <= heights[i], gap <= 10^6"),
        (([1, 3, 5, 3], 2), ([4, 4, 4], 0)),
        lambda r: (ints(r, 0, 6), r.randint(0, 3)),
        (
            ("""
count = 0
for i in range(len(heights)):
    for j in range(i + 1, len(heights)):
        if abs(heights[i] - heights[j]) == gap:
            count += 1
return count
""", "abs(heights[i] - heights[j]) == gap", "abs(heights[i] - heights[j]) >= gap"),
            ("""
seen = {}
count = 0
for h in heights:
    for other in {h - gap, h + gap}:
        count += seen.get(other, 0)
    seen[h] = seen.get(h, 0) + 1
return count
""", "{h - gap, h + gap}", "{h - gap, h - gap}"),
            ("""
from collections import Counter
tally = Counter(heights)
if gap == 0:
    return sum(c * (c - 1) // 2 for c in tally.values())
return sum(c * tally.get(h + gap, 0) for h, c in tally.items())
""", "c * tally.get(h + gap, 0)", "1 * tally.get(h + gap, 0)"),
        ),
    ),
    Seed(
        "checkerBalance", "grid: List[List[int]]", "int",
        "The cell in row r and column c of a board is white when r + c is even and black otherwise.\nReturn the "
        "sum of the numbers on white cells minus the sum of the numbers on black cells.",
        ("1 <= grid.length, grid[i].length <= 100", "-1000 <= grid[i][j] <= 1000"),
        (([[1, 2], [3, 4]],), ([[5, 1, 2]],)),
        lambda r: (table(r, -4, 9),),
        (
            ("""
total = 0
for r, row in enumerate(grid):
    for c, value in enumerate(row):
        total += value if (r + c) % 2 == 0 else -value
return total
""", "(r + c) % 2 == 0", "(r + r) % 2 == 0"),
            ("""
white = black = 0
for r in range(len(grid)):
    for c in range(len(grid[0])):
        if (r + c) % 2:
            black += grid[r][c]
        else:
            white += grid[r][c]
return white - black
""", "return white - black", "return white + black"),
            ("""
total, sign = 0, 1
for row in grid:
    total += sign * (sum(row[0::2]) - sum(row[1::2]))
    sign = -sign
return total
""", "sign = -sign", "sign = +sign"),
        ),
    ),
    Seed(
        "decodeTally", "marks: str", "int",
        "A tally sheet is written as letters followed by whole numbers, such as \"a3b12\": three of kind a and "
        "twelve of kind b. A letter without a number stands for a single piece.\nReturn how many pieces the "
        "sheet counts in all.",
        ("1 <= marks.length <= 1000", "marks starts with a letter", "each number is below 1000"),
        (("a3b12",), ("xyz10",)),
        lambda r: ("".join(r.choice("abcd") + r.choice(["", str(r.randint(1, 130))])
                           for _ in range(r.randint(1, 5))),),
        (
            ("""
total = 0
number = ""
for ch in marks[1:] + "z":
    if ch.isdigit():
        number += ch
    else:
        total += int(number) if number else 1
        number = ""
return total
""", "number += ch", "number = ch"),
            ("""
import re
total = 0
for digits in re.findall(r"[a-z](\\d*)", marks):
    total += int(digits or 1)
return total
""", "int(digits or 1)", "int(digits or 0)"),
            ("""
total = i = 0
while i < len(marks):
    j = i + 1
    while j < len(marks) and marks[j].isdigit():
        j += 1
    total += int(marks[i + 1:j] or "1")
    i = j
return total
""", 'or "1"', 'or "0"'),
        ),
    ),
    Seed(
        "lastOddBadge", "badges: List[int]", "int",
        "Guests at a door are noted by their badge number each time they pass, so a guest who is still inside "
        "was noted an odd number of times.\nReturn the badge that was noted last among the guests still inside, "
        "or -1 if nobody is inside.",
        ("1 <= badges.length <= 10^5", "1 <= badges[i] <= 10^6"),
        (([7, 3, 7, 5, 3, 3],), ([2, 2],)),
        lambda r: (ints(r, 1, 5),),
        (
            ("""
inside = set()
for b in badges:
    inside ^= {b}
for b in reversed(badges):
    if b in inside:
        return b
return -1
""", "in reversed(badges)", "in sorted(badges)"),
            ("""
from collections import Counter
times = Counter(badges)
for i in range(len(badges) - 1, -1, -1):
    if times[badges[i]] % 2 == 1:
        return badges[i]
return -1
""", "times[badges[i]] % 2 == 1", "times[badges[i]] // 2 == 0"),
            ("""
answer = -1
for i, b in enumerate(badges):
    if badges.count(b) % 2 and b not in badges[i + 1:]:
        answer = b
return answer
""", "b not in badges[i + 1:]", "b not in badges[:i]"),
        ),
    ),
    Seed(
        "driestWindow", "rain: List[int], k: int", "int",
        "rain[i] is the rainfall of day i in millimetres.\nReturn the smallest total rainfall of any k "
        "consecutive days.",
        ("1 <= k <= rain.length <= 10^5", "0 <= rain[i] <= 1000"),
        (([4, 2, 6, 1, 5], 2), ([3, 3], 1)),
        lambda r: (lambda rain: (rain, r.randint(1, len(rain))))(ints(r, 0, 9)),
        (
            ("""
total = sum(rain[:k])
best = total
for i in range(k, len(rain)):
    total += rain[i] - rain[i - k]
    best = min(best, total)
return best
""", "rain[i] - rain[i - k]", "rain[i] - rain[k - 1]"),
            ("""
prefix = [0]
for x in rain:
    prefix.append(prefix[-1] + x)
return min(prefix[i + k] - prefix[i] for i in range(len(rain) - k + 1))
""", "return min(", "return max("),
            ("""
best = sum(rain)
for start in range(len(rain) - k + 1):
    best = min(best, sum(rain[start:start + k]))
return best
""", "range(len(rain) - k + 1)", "range(len(rain) - k + 0)"),
        ),
    ),
    Seed(
        "bracketHeight", "s: str", "int",
        "A string s of '(' and ')' describes how boxes lie inside each other. It is proper when every bracket "
        "has its partner in the right order.\nReturn how deeply the innermost box is nested, or -1 when s is "
        "not proper. The empty string has depth 0.",
        ("0 <= s.length <= 10^5",),
        (("(()())",), ("())(",)),
        lambda r: (r.choice(["", "()", "(())()", "((()))", "()()", "(()(()))", letters(r, "()", 6)]),),
        (
            ("""
depth = best = 0
for ch in s:
    depth += 1 if ch == "(" else -1
    if depth < 0:
        return -1
    best = max(best, depth)
return best if depth == 0 else -1
""", "best if depth == 0 else -1", "best if depth >= 0 else -1"),
            ("""
stack = []
best = 0
for ch in s:
    if ch == "(":
        stack.append(ch)
        best = max(best, len(stack))
    elif not stack:
        return -1
    else:
        stack.pop()
return -1 if stack else best
""", "best = max(best, len(stack))", "best = max(best, len(s) // 2)"),
            ("""
levels = 0
while "()" in s:
    kept, i = [], 0
    while i < len(s):
        if s[i:i + 2] == "()":
            i += 2
        else:
            kept.append(s[i])
            i += 1
    s = "".join(kept)
    levels += 1
return -1 if s else levels
""", "levels += 1", "levels += 2"),
        ),
    ),
    Seed(
        "settleLedger", "entries: List[List[int]]", "List[List[int]]",
        "Each entry [a, b, x] of a ledger says that person a lent person b the amount x. The balance of a "
        "person is what others owe that person minus what that person owes.\nReturn [person, balance] for each "
        "person whose balance is not zero, sorted by person.",
        ("1 <= entries.length <= 1000", "a != b", "1 <= x <= 10^4"),
        (([[1, 2, 5], [2, 3, 5]],), ([[4, 1, 2], [1, 4, 2]],)),
        lambda r: ([[*r.sample(range(1, 5), 2), r.randint(1, 4)] for _ in range(r.randint(1, 6))],),
        (
            ("""
balance = {}
for a, b, x in entries:
    balance[a] = balance.get(a, 0) + x
    balance[b] = balance.get(b, 0) - x
return [[p, balance[p]] for p in sorted(balance) if balance[p] != 0]
""", "if balance[p] != 0", "if balance[p] > 0"),
            ("""
from collections import defaultdict
net = defaultdict(int)
for lender, borrower, amount in entries:
    net[lender] += amount
    net[borrower] -= amount
result = [[person, value] for person, value in net.items() if value]
result.sort()
return result
""", "net[borrower] -= amount", "net[borrower] -= 1"),
            ("""
people = sorted({p for a, b, _ in entries for p in (a, b)})
result = []
for p in people:
    lent = sum(x for a, _, x in entries if a == p)
    owed = sum(x for _, b, x in entries if b == p)
    if lent != owed:
        result.append([p, lent - owed])
return result
""", "[p, lent - owed]", "[p, owed - lent]"),
        ),
    ),
    Seed(
        "trailLength", "trail: str", "int",
        "A hiker notes each step as 'N', 'S', 'E' or 'W'. Whenever a step directly undoes the step before it, "
        "both are struck from the notes, and this goes on until no two neighbouring notes undo each other.\n"
        "Return how many notes remain.",
        ("0 <= trail.length <= 10^5",),
        (("NESWW",), ("ENSW",)),
        lambda r: (letters(r, "NSEW"),),
        (
            ("""
undo = {"N": "S", "S": "N", "E": "W", "W": "E"}
kept = []
for step in trail:
    if kept and kept[-1] == undo[step]:
        kept.pop()
    else:
        kept.append(step)
return len(kept)
""", "kept[-1] == undo[step]", "kept[0] == undo[step]"),
            ("""
size = -1
while size != len(trail):
    size = len(trail)
    for pair in ("NS", "SN", "EW", "WE"):
        trail = trail.replace(pair, "")
return len(trail)
""", '"NS", "SN", "EW", "WE"', '"NS", "SN", "EE", "WW"'),
            ("""
path = ""
for step in trail:
    last = path[-1:] + step
    if last in ("NS", "SN", "EW", "WE"):
        path = path[:-1]
    else:
        path += step
return len(path)
""", "path = path[:-1]", "path = path[1:]"),
        ),
    ),
    Seed(
        "sharedPlaces", "scores: List[int]", "List[int]",
        "In a contest everybody with the same score shares a place, and the place is one more than the number "
        "of contestants with a strictly higher score.\nReturn the places in the order of scores.",
        ("1 <= scores.length <= 10^5", "0 <= scores[i] <= 10^6"),
        (([50, 80, 50, 90],), ([7, 7],)),
        lambda r: (ints(r, 0, 6),),
        (
            ("""
places = []
for s in scores:
    higher = sum(1 for other in scores if other > s)
    places.append(1 + higher)
return places
""", "other > s", "other < s"),
            ("""
ranked = sorted(scores, reverse=True)
place = {}
for i, s in enumerate(ranked, start=1):
    place.setdefault(s, i)
return [place[s] for s in scores]
""", "place.setdefault(s, i)", "place[s] = i"),
            ("""
import bisect
rising = sorted(scores)
n = len(scores)
return [n - bisect.bisect_right(rising, s) + 1 for s in scores]
""", "bisect.bisect_right", "bisect.bisect_left"),
        ),
    ),
    Seed(
        "terraceTiles", "rows: int, step: int", "int",
        "A terrace has rows rows of tiles. The first row holds one tile, and each further row holds step tiles "
        "more than the row before.\nReturn the number of tiles of the terrace.",
        ("0 <= rows <= 10^4", "0 <= step <= 100"),
        ((3, 2), (4, 0)),
        lambda r: (r.randint(0, 12), r.randint(0, 6)),
        (
            ("""
return rows + step * rows * (rows - 1) // 2
""", "rows * (rows - 1) // 2", "rows * (rows + 1) // 2"),
            ("""
total, width = 0, 1
for _ in range(rows):
    total += width
    width += step
return total
""", "width += step", "width *= step"),
            ("""
return sum(1 + i * step for i in range(rows))
""", "1 + i * step", "i + 1 * step"),
        ),
    ),
    Seed(
        "rotateVowels", "word: str, key: int", "str",
        "A secret message keeps its consonants, and every vowel is replaced by the vowel that stands key places "
        "further in the cycle a, e, i, o, u.\nReturn the secret form of word.",
        ("1 <= word.length <= 1000", "0 <= key <= 100", "word holds lowercase English letters only"),
        (("melon", 1), ("sky", 4)),
        lambda r: (letters(r, "aeioubcd"), r.randint(0, 12)),
        (
            ("""
vowels = "aeiou"
out = ""
for ch in word:
    if ch in vowels:
        out += vowels[(vowels.index(ch) + key) % 5]
    else:
        out += ch
return out
""", "(vowels.index(ch) + key) % 5", "(vowels.index(ch) - key) % 5"),
            ("""
cycle = "aeiou"
turn = key % 5
swap = str.maketrans(cycle, cycle[turn:] + cycle[:turn])
return word.translate(swap)
""", "cycle[turn:] + cycle[:turn]", "cycle[:turn] + cycle[turn:]"),
            ("""
following = dict(zip("aeiou", "eioua"))
result = list(word)
for _ in range(key % 5):
    result = [following.get(ch, ch) for ch in result]
return "".join(result)
""", 'following.get(ch, ch)', 'following.get(ch, "a")'),
        ),
    ),
    Seed(
        "floodedStretches", "levels: List[int], water: int", "int",
        "levels[i] is the height of the i-th metre of a road, and each metre lower than water is flooded. "
        "Neighbouring flooded metres form one stretch.\nReturn the number of flooded stretches.",
        ("1 <= levels.length <= 10^5", "0 <= levels[i], water <= 10^4"),
        (([1, 5, 2, 2, 6], 3), ([4, 4], 4)),
        lambda r: (ints(r, 0, 6), r.randint(0, 6)),
        (
            ("""
count = 0
wet = False
for h in levels:
    if h < water and not wet:
        count += 1
    wet = h < water
return count
""", "wet = h < water", "wet = h > water"),
            ("""
flooded = [False] + [h < water for h in levels]
return sum(1 for a, b in zip(flooded, flooded[1:]) if b and not a)
""", "b and not a", "b and b"),
            ("""
line = "".join("w" if h < water else " " for h in levels)
return len(line.split())
""", "h < water", "h <= water"),
        ),
    ),
    Seed(
        "busiestHour", "stamps: List[str]", "int",
        "A turnstile writes a stamp \"HH:MM\" for each visitor.\nReturn the hour in which most visitors came. If "
        "several hours share the largest number, return the earliest of them.",
        ("1 <= stamps.length <= 10^5", "each stamp is a valid time of the day"),
        ((["09:15", "10:01", "10:59"],), (["18:00", "07:30"],)),
        lambda r: ([f"{r.randint(7, 11):02d}:{r.randint(0, 59):02d}" for _ in range(r.randint(1, 8))],),
        (
            ("""
visits = [0] * 24
for stamp in stamps:
    visits[int(stamp[:2])] += 1
return visits.index(max(visits))
""", "return visits.index(max(visits))", "return 23 - visits[::-1].index(max(visits))"),
            ("""
from collections import Counter
visits = Counter(int(stamp.split(":")[0]) for stamp in stamps)
most = max(visits.values())
return min(hour for hour, n in visits.items() if n == most)
""", "if n == most", "if n <= most"),
            ("""
hours = [int(stamp[0:2]) for stamp in stamps]
best = hours[0]
for hour in sorted(set(hours)):
    better = hours.count(hour) > hours.count(best)
    if better or (hours.count(hour) == hours.count(best) and hour < best):
        best = hour
return best
""", "hour < best", "hour > best"),
        ),
    ),
    Seed(
        "fairestCut", "loads: List[int]", "int",
        "Crates with the weights loads stand in a row. The row is cut at one place into a left part and a right "
        "part, neither of them empty.\nReturn the smallest possible difference between the weights of the two "
        "parts.",
        ("2 <= loads.length <= 10^5", "1 <= loads[i] <= 10^4"),
        (([3, 1, 2, 4],), ([9, 2],)),
        lambda r: (ints(r, 1, 9, least=2),),
        (
            ("""
total = sum(loads)
left = 0
best = total
for x in loads[:-1]:
    left += x
    best = min(best, abs(total - 2 * left))
return best
""", "total - 2 * left", "total - 1 * left"),
            ("""
return min(abs(sum(loads[:i]) - sum(loads[i:])) for i in range(1, len(loads)))
""", "range(1, len(loads))", "range(1, len(loads) // 2 + 1)"),
            ("""
left, right = loads[0], sum(loads[1:])
best = abs(left - right)
for x in loads[1:-1]:
    left, right = left + x, right - x
    best = min(best, abs(left - right))
return best
""", "best = min(best, abs(left - right))", "best = max(best, abs(left - right))"),
        ),
    ),
    Seed(
        "keptTickets", "tickets: List[int], k: int", "List[int]",
        "At a raffle every number may stay in the drum at most k times. Tickets are examined in order, and a "
        "ticket is thrown out when its number has already been kept k times.\nReturn the kept tickets in order.",
        ("1 <= tickets.length <= 10^5", "1 <= k <= 100"),
        (([2, 2, 5, 2, 5], 1), ([1, 1, 1, 3], 2)),
        lambda r: (ints(r, 1, 4), r.randint(1, 3)),
        (
            ("""
kept = []
for t in tickets:
    if kept.count(t) < k:
        kept.append(t)
return kept
""", "kept.count(t) < k", "kept.count(t) <= k"),
            ("""
times = {}
kept = []
for t in tickets:
    times[t] = times.get(t, 0) + 1
    if times[t] <= k:
        kept.append(t)
return kept
""", "times.get(t, 0) + 1", "times.get(t, 1) + 1"),
            ("""
return [t for i, t in enumerate(tickets) if tickets[:i].count(t) < k]
""", "tickets[:i].count(t) < k", "tickets[i:].count(t) <= k"),
        ),
    ),
    Seed(
        "visibleFromWest", "grid: List[List[int]]", "int",
        "grid[r][c] is the height of the house in row r and column c, and you look at the town from the west, "
        "along the rows. A house is visible when it is strictly higher than every house west of it in its row.\n"
        "Return the number of visible houses.",
        ("1 <= grid.length, grid[i].length <= 100", "1 <= grid[i][j] <= 1000"),
        (([[1, 3, 2], [2, 2, 5]],), ([[4, 4]],)),
        lambda r: (table(r, 1, 6),),
        (
            ("""
seen = 0
for row in grid:
    tallest = 0
    for h in row:
        if h > tallest:
            seen += 1
            tallest = h
return seen
""", "h > tallest", "h >= tallest"),
            ("""
return sum(1 for row in grid for i, h in enumerate(row) if all(h > g for g in row[:i]))
""", "if all(h > g", "if any(h > g"),
            ("""
from itertools import accumulate
total = 0
for row in grid:
    total += len(set(accumulate(row, max)))
return total
""", "accumulate(row, max)", "accumulate(row, min)"),
        ),
    ),
    Seed(
        "digitLadder", "n: int", "int",
        "One rung of the ladder takes you from a whole number to the product of its digits other than zero.\n"
        "Return how many rungs lead from n to a number below 10.",
        ("1 <= n <= 10^9",),
        ((39,), (105,)),
        lambda r: (r.choice([r.randint(1, 99), r.randint(100, 99999), 777, 999, 6788]),),
        (
            ("""
rungs = 0
while n > 9:
    product = 1
    for d in str(n):
        product *= int(d) or 1
    n = product
    rungs += 1
return rungs
""", "product *= int(d) or 1", "product += int(d) or 1"),
            ("""
if n < 10:
    return 0
product, rest = 1, n
while rest:
    rest, d = divmod(rest, 10)
    if d:
        product *= d
return 1 + self.digitLadder(product)
""", "if n < 10:", "if n < 30:"),
            ("""
from math import prod
rungs = 0
while n >= 10:
    n = prod(int(d) for d in str(n) if d != "0")
    rungs += 1
return rungs
""", 'if d != "0"', 'if d != "1"'),
        ),
    ),
    Seed(
        "harvestPlan", "fields: List[int], rest: int", "int",
        "fields[i] is the yield of the i-th field along a lane. After a field is harvested, the next rest fields "
        "along the lane have to be left alone.\nReturn the largest total yield.",
        ("1 <= fields.length <= 10^4", "0 <= fields[i] <= 1000", "0 <= rest <= 100"),
        (([3, 8, 4, 5], 1), ([1, 2, 3], 0)),
        lambda r: (ints(r, 0, 9), r.randint(0, 3)),
        (
            ("""
best = [0] * (len(fields) + 1)
for i, y in enumerate(fields):
    before = best[max(0, i - rest)]
    best[i + 1] = max(best[i], before + y)
return best[-1]
""", "max(0, i - rest)", "max(0, i - 1)"),
            ("""
n = len(fields)
best = [0] * (n + rest + 2)
for i in range(n - 1, -1, -1):
    best[i] = max(best[i + 1], fields[i] + best[i + rest + 1])
return best[0]
""", "best[i + rest + 1]", "best[i + rest + 0]"),
            ("""
from functools import lru_cache
@lru_cache(maxsize=None)
def gain(i):
    if i >= len(fields):
        return 0
    return max(gain(i + 1), fields[i] + gain(i + 1 + rest))
return gain(0)
""", "gain(i + 1 + rest)", "gain(i + 2 + rest)"),
        ),
    ),
    Seed(
        "wordChain", "words: List[str]", "int",
        "Children say words in turn. A chain is a block of consecutive words in which each word begins with the "
        "last letter of the word before it.\nReturn the number of words in the longest chain.",
        ("1 <= words.length <= 10^4", "each word is made of 1 to 20 lowercase letters"),
        ((["sun", "net", "top", "ant"],), (["up", "down"],)),
        lambda r: ([letters(r, "abc", 3) for _ in range(r.randint(1, 8))],),
        (
            ("""
best = run = 1
for prev, word in zip(words, words[1:]):
    run = run + 1 if prev[-1] == word[0] else 1
    best = max(best, run)
return best
""", "prev[-1] == word[0]", "prev[0] == word[0]"),
            ("""
best = start = 0
for i, word in enumerate(words):
    if i and words[i - 1][-1] != word[0]:
        start = i
    best = max(best, i - start + 1)
return best
""", "best = max(best, i - start + 1)", "best = max(best, i - start)"),
            ("""
lengths = [1]
for i in range(1, len(words)):
    linked = words[i].startswith(words[i - 1][-1])
    lengths.append(lengths[-1] + 1 if linked else 1)
return max(lengths)
""", "return max(lengths)", "return lengths[-1]"),
        ),
    ),
    Seed(
        "echoLength", "s: str", "int",
        "The echo of a sound s is the longest text that s both begins and ends with, where the beginning and the "
        "end must not overlap.\nReturn the length of the echo, 0 if there is none.",
        ("1 <= s.length <= 1000", "s holds lowercase English letters only"),
        (("abcab",), ("aaaa",)),
        lambda r: (r.choice([letters(r, "ab"), (lambda p: p + letters(r, "abc", 3) + p)(letters(r, "ab", 3))]),),
        (
            ("""
for k in range(len(s) // 2, 0, -1):
    if s[:k] == s[-k:]:
        return k
return 0
""", "range(len(s) // 2, 0, -1)", "range(1, len(s) // 2 + 1)"),
            ("""
best = 0
for k in range(1, len(s) // 2 + 1):
    if s.startswith(s[-k:]):
        best = k
return best
""", "s.startswith(s[-k:])", "s.startswith(s[:-k])"),
            ("""
return max((k for k in range(1, len(s) // 2 + 1) if s[:k] == s[len(s) - k:]), default=0)
""", "range(1, len(s) // 2 + 1)", "range(1, len(s) // 3 + 1)"),
        ),
    ),
    Seed(
        "lampToggles", "n: int, rounds: List[int]", "int",
        "n lamps numbered from 1 to n are off. In each round with number q, every lamp whose number is a "
        "multiple of q is switched.\nReturn how many lamps are on after all rounds.",
        ("1 <= n <= 1000", "1 <= rounds.length <= 100", "1 <= rounds[i] <= 1000"),
        ((6, [2, 3]), (4, [1, 1])),
        lambda r: (r.randint(1, 15), ints(r, 1, 5, 4)),
        (
            ("""
on = [False] * (n + 1)
for q in rounds:
    for lamp in range(q, n + 1, q):
        on[lamp] = not on[lamp]
return sum(on)
""", "on[lamp] = not on[lamp]", "on[lamp] = lamp % q == 0"),
            ("""
lit = 0
for lamp in range(1, n + 1):
    switches = sum(1 for q in rounds if lamp % q == 0)
    lit += switches % 2
return lit
""", "lit += switches % 2", "lit += switches > 0"),
            ("""
lit = set()
for q in rounds:
    lit ^= set(range(q, n + 1, q))
return len(lit)
""", "range(q, n + 1, q)", "range(q, n + 0, q)"),
        ),
    ),
    Seed(
        "messengerDelay", "delays: List[int], start: int, stop: int", "int",
        "Messengers stand in a ring and pass a letter on to the next one, the last one to messenger 0. Messenger "
        "i keeps the letter for delays[i] minutes before passing it on.\nReturn how many minutes go by between "
        "messenger start getting the letter and messenger stop getting it. When both are the same messenger the "
        "answer is 0.",
        ("1 <= delays.length <= 10^5", "0 <= delays[i] <= 100", "0 <= start, stop < delays.length"),
        (([3, 1, 4, 2], 1, 3), ([3, 1, 4, 2], 2, 0)),
        lambda r: (lambda d: (d, r.randrange(len(d)), r.randrange(len(d))))(ints(r, 0, 9)),
        (
            ("""
minutes = 0
holder = start
while holder != stop:
    minutes += delays[holder]
    holder = (holder + 1) % len(delays)
return minutes
""", "minutes += delays[holder]", "minutes += delays[stop]"),
            ("""
if start <= stop:
    return sum(delays[start:stop])
return sum(delays[start:]) + sum(delays[:stop])
""", "sum(delays[:stop])", "sum(delays[stop:])"),
            ("""
n = len(delays)
count = (stop - start) % n
return sum(delays[(start + i) % n] for i in range(count))
""", "(stop - start) % n", "abs(stop - start) % n"),
        ),
    ),
    # ---- never used in training pairs ----
    Seed(
        "parcelLabels", "codes: List[str]", "List[str]",
        "A sorting office prints labels for parcels in order. The first parcel with some code gets the code "
        "itself as its label; the m-th parcel with the same code gets the code followed by '#' and m.\nReturn "
        "the labels.",
        ("1 <= codes.length <= 10^4", "each code is made of 1 to 8 lowercase letters"),
        ((["ab", "c", "ab"],), (["q", "q", "q"],)),
        lambda r: ([letters(r, "ab", 2) for _ in range(r.randint(1, 8))],),
        (
            ("""
count = {}
labels = []
for code in codes:
    count[code] = count.get(code, 0) + 1
    m = count[code]
    labels.append(code if m == 1 else f"{code}#{m}")
return labels
""", "count.get(code, 0) + 1", "count.get(code, 1) + 1"),
            ("""
labels = []
for i, code in enumerate(codes):
    m = codes[:i + 1].count(code)
    labels.append(code + (f"#{m}" if m > 1 else ""))
return labels
""", "if m > 1", "if m > 2"),
            ("""
from collections import Counter
seen = Counter()
labels = []
for code in codes:
    seen[code] += 1
    suffix = "#" + str(seen[code]) if seen[code] > 1 else ""
    labels.append(code + suffix)
return labels
""", "str(seen[code])", "str(len(seen))"),
        ),
        "heldout",
    ),
    Seed(
        "longestRopePiece", "length: int, cuts: List[int]", "int",
        "A rope of the given length is cut at each of the positions in cuts, measured from its left end. The "
        "positions come in any order, and some may appear twice.\nReturn the length of the longest piece.",
        ("1 <= length <= 10^6", "0 <= cuts.length <= 10^4", "0 < cuts[i] < length"),
        ((10, [7, 2]), (5, [])),
        lambda r: (20, ints(r, 1, 19, 5, 0)),
        (
            ("""
marks = [0] + sorted(cuts) + [length]
return max(b - a for a, b in zip(marks, marks[1:]))
""", "[0] + sorted(cuts) + [length]", "[0] + list(cuts) + [length]"),
            ("""
best = previous = 0
for position in sorted(cuts):
    best = max(best, position - previous)
    previous = position
return max(best, length - previous)
""", "return max(best, length - previous)", "return max(best, length - best)"),
            ("""
longest = 0
ends = set(cuts) | {length}
for start in set(cuts) | {0}:
    longest = max(longest, min(e for e in ends if e > start) - start)
return longest
""", "min(e for e in ends if e > start)", "max(e for e in ends if e > start)"),
        ),
        "heldout",
    ),
    Seed(
        "stonesToShore", "jumps: List[int]", "int",
        "Stones lie in a river, and from stone i you always jump to stone i + jumps[i]; you start on stone 0. "
        "Leaving the row of stones at either end brings you ashore.\nReturn the number of jumps until you are "
        "ashore, or -1 if you never get there.",
        ("1 <= jumps.length <= 10^5", "-10^5 <= jumps[i] <= 10^5"),
        (([2, 5, -1, 1],), ([1, 2, 9, 1],)),
        lambda r: (ints(r, -2, 4, 7),),
        (
            ("""
seen = set()
i = 0
while 0 <= i < len(jumps):
    if i in seen:
        return -1
    seen.add(i)
    i += jumps[i]
return len(seen)
""", "return len(seen)", "return len(jumps)"),
            ("""
i = count = 0
while 0 <= i < len(jumps):
    if count > len(jumps):
        return -1
    i += jumps[i]
    count += 1
return count
""", "i += jumps[i]", "i += abs(jumps[i])"),
            ("""
position = 0
for count in range(1, len(jumps) + 1):
    position += jumps[position]
    if position < 0 or position >= len(jumps):
        return count
return -1
""", "position < 0 or position >= len(jumps)", "position < 0 or position > len(jumps) - 2"),
        ),
        "heldout",
    ),
    Seed(
        "leavingOrder", "n: int, k: int", "List[int]",
        "n dancers numbered from 1 to n stand in a circle. Counting begins at dancer 1, each k-th dancer leaves "
        "the circle, and counting goes on with the next one.\nReturn the numbers in the order of leaving.",
        ("1 <= n <= 500", "1 <= k <= 500"),
        ((5, 2), (3, 1)),
        lambda r: (r.randint(1, 8), r.randint(1, 5)),
        (
            ("""
circle = list(range(1, n + 1))
order, i = [], 0
while circle:
    i = (i + k - 1) % len(circle)
    order.append(circle.pop(i))
return order
""", "(i + k - 1) % len(circle)", "(i + k - 0) % len(circle)"),
            ("""
from collections import deque
circle = deque(range(1, n + 1))
order = []
while circle:
    circle.rotate(1 - k)
    order.append(circle.popleft())
return order
""", "circle.rotate(1 - k)", "circle.rotate(k - 1)"),
            ("""
queue = list(range(1, n + 1))
order = []
while queue:
    shift = (k - 1) % len(queue)
    queue = queue[shift:] + queue[:shift]
    order.append(queue[0])
    queue = queue[1:]
return order
""", "queue[shift:] + queue[:shift]", "queue[:shift] + queue[shift:]"),
        ),
        "heldout",
    ),
    Seed(
        "unevenRows", "grid: List[List[int]]", "List[int]",
        "A punched card is given as a grid of zeros and ones. A row is uneven when it holds an odd number of "
        "ones.\nReturn the indices of all uneven rows in rising order.",
        ("1 <= grid.length, grid[i].length <= 100",),
        (([[1, 0], [1, 1], [0, 1]],), ([[0, 0]],)),
        lambda r: (table(r, 0, 1),),
        (
            ("""
return [i for i, row in enumerate(grid) if sum(row) % 2 == 1]
""", "sum(row) % 2 == 1", "sum(row) // 1 == 1"),
            ("""
uneven = []
for i in range(len(grid)):
    odd = 0
    for bit in grid[i]:
        odd ^= bit
    if odd:
        uneven.append(i)
return uneven
""", "odd ^= bit", "odd |= bit"),
            ("""
uneven = []
for i, row in enumerate(grid):
    if row.count(1) % 2:
        uneven.append(i)
return uneven
""", "row.count(1) % 2", "row.count(0) % 2"),
        ),
        "heldout",
    ),
    Seed(
        "bellsTogether", "periods: List[int]", "int",
        "Bell i rings at the minutes periods[i], 2 * periods[i], 3 * periods[i] and so on.\nReturn the first "
        "minute at which all bells ring together.",
        ("1 <= periods.length <= 10", "1 <= periods[i] <= 12"),
        (([2, 3],), ([4, 6, 2],)),
        lambda r: (ints(r, 1, 9, 4),),
        (
            ("""
from math import gcd
together = 1
for p in periods:
    together = together * p // gcd(together, p)
return together
""", "together * p // gcd(together, p)", "together * p // gcd(periods[0], p)"),
            ("""
minute = max(periods)
while any(minute % p for p in periods):
    minute += max(periods)
return minute
""", "while any(minute % p", "while all(minute % p"),
            ("""
result = periods[0]
for p in periods[1:]:
    step = result
    while result % p:
        result += step
return result
""", "while result % p", "if result % p"),
        ),
        "heldout",
    ),
)
