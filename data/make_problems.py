"""Authored problems -> data/problems.jsonl: statement, reference, brute force and input generator together.

    python data/make_problems.py            # writes data/problems.jsonl, the same bytes every time
    python data/make_problems.py --check    # fails if the file on disk is not what this script would write

Each problem is one decorated function. The function is the reference solution: its source becomes
`reference`, its signature the starter code, and its answers on the examples, the edge inputs and seeded
random inputs become the expected values. A function `brute_NAME` below it solves the same problem a second
way (slow and plain); where one stands, every test and 60 further random inputs must agree before the file
is written. A function `wrong_NAME` is a plausible mistake that at least one test must catch.
"""

import argparse
import copy
import inspect
import itertools
import json
import math
import random
import re
import sys
import textwrap
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict, deque
from functools import lru_cache
from heapq import heapify, heappop, heappush
from itertools import accumulate, combinations, permutations, product
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tasks.problems import Problem, dump_problems  # noqa: E402 (the repository is flat, not a package)

OUT = Path(__file__).resolve().parent / "problems.jsonl"
SETUP = """import math
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict, deque
from functools import lru_cache
from heapq import heapify, heappop, heappush
from itertools import accumulate, combinations, permutations, product
from typing import Dict, List, Optional, Set, Tuple
"""
MOD = 1_000_000_007
PROBLEMS: dict[str, dict] = {}
WORDS = ["amber", "birch", "cedar", "delta", "ember", "flint"]


def problem(level, topic, statement, limits, examples, gen, edges=()):
    """Register the decorated reference; examples and edges are argument tuples, gen draws one."""

    def register(fn):
        assert fn.__name__ not in PROBLEMS, fn.__name__
        PROBLEMS[fn.__name__] = {
            "level": level, "topic": topic, "statement": statement, "limits": limits,
            "examples": examples, "gen": gen, "edges": edges, "fn": fn,
        }  # fmt: skip
        return fn

    return register


def ints(r, n_lo, n_hi, lo, hi):
    return [r.randint(lo, hi) for _ in range(r.randint(n_lo, n_hi))]


def letters(r, n_lo, n_hi, alphabet="abcde"):
    return "".join(r.choice(alphabet) for _ in range(r.randint(n_lo, n_hi)))


def grid(r, rows, cols, draw):
    return [[draw() for _ in range(cols)] for _ in range(rows)]


def spans(r, n_lo, n_hi, top, longest):
    starts = ints(r, n_lo, n_hi, 0, top)
    return [[s, s + r.randint(1, longest)] for s in starts]


def simple_edges(r, n, share):
    return [[a, b] for a, b in combinations(range(n), 2) if r.random() < share]


# ---------------------------------------------------------------------------------------------------- arrays
@problem(
    "easy",
    "arrays",
    """A weather station stores one reading per hour in the integer array temps. A stretch of consecutive
    hours is calm if any two neighbouring readings inside it differ by at most delta.

    Return the length of the longest calm stretch. A single hour is always calm.""",
    """1 <= temps.length <= 200
    -50 <= temps[i] <= 50
    0 <= delta <= 100""",
    [([3, 4, 4, 9, 8, 7, 7], 1), ([10, 20, 30], 5)],
    lambda r: (ints(r, 1, 25, -8, 8), r.randint(0, 6)),
    [([0], 0), ([5, 5, 5, 5], 0), ([1, 100 - 60, -50], 100), ([1, 2, 4, 7, 11, 16], 3)],
)
def longestCalmStretch(self, temps: list[int], delta: int) -> int:
    best = run = 1
    for a, b in zip(temps, temps[1:]):
        run = run + 1 if abs(a - b) <= delta else 1
        best = max(best, run)
    return best


def brute_longestCalmStretch(temps, delta):
    n = len(temps)
    return max(
        j - i + 1
        for i in range(n)
        for j in range(i, n)
        if all(abs(temps[t] - temps[t + 1]) <= delta for t in range(i, j))
    )


def wrong_longestCalmStretch(temps, delta):
    best = run = 0
    for a, b in zip(temps, temps[1:]):
        run = run + 1 if abs(a - b) <= delta else 0
        best = max(best, run)
    return best


@problem(
    "easy",
    "arrays",
    """You are given an integer array nums and two integers size and shift. Cut nums from the left into
    blocks of size elements; the last block may be shorter. Rotate every block to the right by shift places
    on its own, and return the blocks joined again.""",
    """1 <= nums.length <= 200
    -1000 <= nums[i] <= 1000
    1 <= size <= nums.length
    0 <= shift <= 1000""",
    [([1, 2, 3, 4, 5, 6, 7], 3, 1), ([9, 8, 7, 6], 4, 6)],
    lambda r: (lambda a: (a, r.randint(1, len(a)), r.randint(0, 12)))(ints(r, 1, 14, -20, 20)),
    [([5], 1, 1000), ([1, 2], 1, 3), ([1, 2, 3, 4, 5], 4, 3), ([1, 2, 3, 4, 5, 6], 2, 1)],
)
def rotateBlocks(self, nums: list[int], size: int, shift: int) -> list[int]:
    out = []
    for i in range(0, len(nums), size):
        block = nums[i : i + size]
        k = shift % len(block)
        out += block[len(block) - k :] + block[: len(block) - k]
    return out


def brute_rotateBlocks(nums, size, shift):
    out = []
    for i in range(0, len(nums), size):
        block = deque(nums[i : i + size])
        for _ in range(shift):
            block.appendleft(block.pop())
        out.extend(block)
    return out


@problem(
    "easy",
    "arrays",
    """An integer array heights describes a skyline from left to right. A position is a peak if its height
    is strictly greater than that of each neighbour it has; the first and the last position have only one
    neighbour, and the only position of a one-element skyline is a peak.

    Return the indices of all peaks in increasing order.""",
    """1 <= heights.length <= 200
    0 <= heights[i] <= 1000""",
    [([4, 2, 7, 7, 1, 5],), ([1, 2, 3],)],
    lambda r: (ints(r, 1, 15, 0, 9),),
    [([7],), ([2, 2],), ([3, 1],), ([1, 5, 1, 5, 1],), ([5, 4, 3, 4, 5],)],
)
def skylinePeaks(self, heights: list[int]) -> list[int]:
    padded = [-1] + heights + [-1]
    return [i for i in range(len(heights)) if padded[i] < padded[i + 1] > padded[i + 2]]


@problem(
    "easy",
    "arrays",
    """Given an integer array nums, look for the position where a value shows up for the second time.
    Return the smallest index i such that nums[i] also stands somewhere before i, or -1 if all values are
    different.""",
    """1 <= nums.length <= 200
    -1000 <= nums[i] <= 1000""",
    [([5, 3, 8, 3, 5],), ([1, 2, 3],)],
    lambda r: (ints(r, 1, 10, 0, 14),),
    [([4],), ([4, 4],), ([1, 2, 3, 4, 1],), ([0, -1, -1, 0],)],
)
def firstEcho(self, nums: list[int]) -> int:
    seen = set()
    for i, x in enumerate(nums):
        if x in seen:
            return i
        seen.add(x)
    return -1


def brute_firstEcho(nums):
    return next((i for i in range(len(nums)) if nums[i] in nums[:i]), -1)


@problem(
    "easy",
    "arrays",
    """A chocolate bar is a row of pieces; nums[i] is the weight of piece i and may be negative for air
    bubbles that make the bar float. You break the bar once, between two pieces.

    Return how many of the breaking points give two parts of equal total weight.""",
    """1 <= nums.length <= 500
    -1000 <= nums[i] <= 1000""",
    [([2, 1, 3],), ([0, 0, 0],)],
    lambda r: (lambda a: (a + a[::-1] if r.random() < 0.6 else a,))(ints(r, 1, 8, -2, 2)),
    [([1],), ([0],), ([1, -1, 1, -1],), ([5, 5],), ([3, -3, 3, -3, 0, 0],)],
)
def evenBreaks(self, nums: list[int]) -> int:
    total, left, count = sum(nums), 0, 0
    for x in nums[:-1]:
        left += x
        count += 2 * left == total
    return count


def brute_evenBreaks(nums):
    return sum(sum(nums[:i]) == sum(nums[i:]) for i in range(1, len(nums)))


def wrong_evenBreaks(nums):
    return sum(2 * s == sum(nums) for s in accumulate(nums))


@problem(
    "easy",
    "arrays",
    """Ticket numbers that were sold are given in strictly increasing order in the array sold. Describe
    them as runs of consecutive numbers: for each maximal run return a pair [first, count], where first is
    the smallest number of the run and count is how many numbers it has. The runs are listed in increasing
    order.""",
    """0 <= sold.length <= 200
    0 <= sold[i] <= 100000
    sold is strictly increasing""",
    [([3, 4, 5, 9, 11, 12],), ([],)],
    lambda r: (sorted(r.sample(range(25), r.randint(0, 16))),),
    [([7],), ([1, 3, 5],), (list(range(40, 60)),), ([0, 1, 99999, 100000],)],
)
def ticketRuns(self, sold: list[int]) -> list[list[int]]:
    runs = []
    for x in sold:
        if runs and runs[-1][0] + runs[-1][1] == x:
            runs[-1][1] += 1
        else:
            runs.append([x, 1])
    return runs


@problem(
    "medium",
    "arrays",
    """Let D be the list of the different values of the integer array nums in increasing order, and
    consider the gaps between neighbours of D. Return the second smallest gap, where equal gaps count
    separately (of the gaps 2, 2 and 5 the second smallest is 2). If there are fewer than two gaps, return
    -1.""",
    """1 <= nums.length <= 200
    -100000 <= nums[i] <= 100000""",
    [([1, 7, 3, 12],), ([4, 4, 9],)],
    lambda r: (ints(r, 1, 12, -60, 60),),
    [([1],), ([1, 2],), ([1, 2, 3],), ([10, 10, 10, 11, 13],), ([-100000, 0, 100000],)],
)
def secondSmallestGap(self, nums: list[int]) -> int:
    d = sorted(set(nums))
    gaps = sorted(b - a for a, b in zip(d, d[1:]))
    return gaps[1] if len(gaps) > 1 else -1


@problem(
    "easy",
    "arrays",
    """Rearrange the integer array nums by taking turns: first the first even number, then the first odd
    number, then the second even number, the second odd number, and so on. Numbers of one parity keep their
    order. When one parity runs out, the rest of the other parity follows in order. Return the new array.""",
    """0 <= nums.length <= 200
    -1000 <= nums[i] <= 1000""",
    [([1, 3, 2, 5, 4],), ([8, 6, 1],)],
    lambda r: (ints(r, 0, 14, -9, 30),),
    [([],), ([3],), ([2, 4, 6],), ([1, 1, 2],), ([-3, -2, -1, 0],)],
)
def weaveParity(self, nums: list[int]) -> list[int]:
    even = [x for x in nums if x % 2 == 0]
    odd = [x for x in nums if x % 2]
    k = min(len(even), len(odd))
    out = [x for pair in zip(even, odd) for x in pair]
    return out + even[k:] + odd[k:]


def wrong_weaveParity(nums):
    even = [x for x in nums if x % 2 == 0]
    odd = [x for x in nums if x % 2]
    return [x for pair in zip(even, odd) for x in pair]


@problem(
    "easy",
    "arrays",
    """A hiker notes the altitude after every minute. At each minute the hiker is below the highest point
    reached so far by some amount (zero on the highest point itself). Return the sum of these amounts over
    all minutes.""",
    """1 <= altitude.length <= 1000
    -1000 <= altitude[i] <= 9000""",
    [([5, 3, 6, 6, 4],), ([1, 2, 3],)],
    lambda r: (ints(r, 1, 20, -10, 40),),
    [([-5],), ([9, 0, 9, 0],), ([4, 3, 2, 1],), ([-1, -2, -1],)],
)
def totalDrop(self, altitude: list[int]) -> int:
    return sum(m - x for m, x in zip(accumulate(altitude, max), altitude))


def brute_totalDrop(altitude):
    return sum(max(altitude[: i + 1]) - altitude[i] for i in range(len(altitude)))


@problem(
    "medium",
    "arrays",
    """For an odd integer k, the median of k numbers is the one in the middle when they are sorted. Return
    how many windows of k consecutive elements of nums have a median that is at least target.""",
    """1 <= k <= nums.length <= 1000
    k is odd
    -1000 <= nums[i], target <= 1000""",
    [([1, 5, 2, 8, 3], 3, 3), ([4, 4, 4], 1, 5)],
    lambda r: (lambda a: (a, r.randrange(1, len(a) + 1, 2), r.randint(-3, 8)))(ints(r, 3, 18, -4, 9)),
    [([7], 1, 7), ([7], 1, 8), ([1, 2, 3, 4, 5], 5, 3), ([1, 2, 3, 4, 5], 5, 4)],
)
def highMedianWindows(self, nums: list[int], k: int, target: int) -> int:
    # the median is at least target exactly if more than half of the window is
    high = sum(x >= target for x in nums[:k])
    count = int(2 * high > k)
    for i in range(k, len(nums)):
        high += (nums[i] >= target) - (nums[i - k] >= target)
        count += 2 * high > k
    return count


def brute_highMedianWindows(nums, k, target):
    return sum(sorted(nums[i : i + k])[k // 2] >= target for i in range(len(nums) - k + 1))


@problem(
    "easy",
    "arrays",
    """Two sensors report integer readings in arrays a and b. Pair equal readings of the two sensors, each
    reading used at most once, until no more pairs can be formed. Return the readings that were paired,
    once per pair, in decreasing order.""",
    """0 <= a.length, b.length <= 200
    -1000 <= a[i], b[i] <= 1000""",
    [([4, 4, 7, 1], [4, 9, 4, 4, 1]), ([1, 2], [3])],
    lambda r: (ints(r, 0, 12, 0, 7), ints(r, 0, 12, 0, 7)),
    [([], []), ([5], [5]), ([2, 2, 2], [2, 2]), ([-1, -2], [-2, -1])],
)
def pairedReadings(self, a: list[int], b: list[int]) -> list[int]:
    return sorted((Counter(a) & Counter(b)).elements(), reverse=True)


def brute_pairedReadings(a, b):
    left, out = list(b), []
    for x in a:
        if x in left:
            left.remove(x)
            out.append(x)
    return sorted(out)[::-1]


@problem(
    "medium",
    "arrays",
    """A shelf has n empty places numbered from 0. Every order [first, last, amount] adds amount boxes to
    each place from first to last inclusive. After all orders, places that hold more than limit boxes give
    away the boxes above limit. Return the final number of boxes at each place.""",
    """1 <= n <= 1000
    0 <= orders.length <= 1000
    0 <= first <= last < n
    1 <= amount <= 100
    0 <= limit <= 100000""",
    [(5, [[0, 2, 3], [1, 4, 2]], 4), (2, [], 1)],
    lambda r: (
        lambda n: (
            n,
            [sorted(r.randrange(n) for _ in "ab") + [r.randint(1, 9)] for _ in range(r.randint(0, 7))],
            r.randint(0, 16),
        )
    )(r.randint(1, 9)),
    [(1, [[0, 0, 100]], 0), (3, [[0, 2, 1], [0, 2, 1], [1, 1, 1]], 2), (4, [[3, 3, 5]], 9)],
)
def shelfOrders(self, n: int, orders: list[list[int]], limit: int) -> list[int]:
    diff = [0] * (n + 1)
    for first, last, amount in orders:
        diff[first] += amount
        diff[last + 1] -= amount
    return [min(x, limit) for x in accumulate(diff[:n])]


def brute_shelfOrders(n, orders, limit):
    shelf = [0] * n
    for first, last, amount in orders:
        for i in range(first, last + 1):
            shelf[i] += amount
    return [min(x, limit) for x in shelf]


@problem(
    "easy",
    "arrays",
    """Return the smallest positive multiple of k that does not occur in the integer array nums.""",
    """0 <= nums.length <= 500
    -100000 <= nums[i] <= 100000
    1 <= k <= 1000""",
    [([3, 6, 12, 5], 3), ([], 7)],
    lambda r: (
        lambda k: ([k * r.randint(-1, 7) + r.choice([0, 0, 0, 1]) for _ in range(r.randint(0, 14))], k)
    )(r.randint(1, 5)),
    [([1, 2, 3], 1), ([2, 4, 6, 8], 2), ([-5, -10], 5), ([5, 5, 5], 5)],
)
def missingMultiple(self, nums: list[int], k: int) -> int:
    seen, m = set(nums), k
    while m in seen:
        m += k
    return m


@problem(
    "medium",
    "arrays",
    """You have an integer array nums with at least two elements and an integer target. Among all pairs of
    different positions, look at the sum of the two values. Return the smallest possible distance |sum -
    target|.""",
    """2 <= nums.length <= 1000
    -100000 <= nums[i], target <= 100000""",
    [([1, 4, 9, -3], 7), ([2, 2], 4)],
    lambda r: (ints(r, 2, 9, -60, 60), r.randint(-90, 90)),
    [([0, 0], 100000), ([-5, 5, 15], 20), ([1, 100, 200, 400], 250)],
)
def nearestPairSum(self, nums: list[int], target: int) -> int:
    a = sorted(nums)
    i, j, best = 0, len(a) - 1, math.inf
    while i < j:
        s = a[i] + a[j]
        best = min(best, abs(s - target))
        if s < target:
            i += 1
        else:
            j -= 1
    return best


def brute_nearestPairSum(nums, target):
    return min(abs(x + y - target) for x, y in combinations(nums, 2))


@problem(
    "medium",
    "arrays",
    """prices[i] is the price of a coin on day i. You may buy one coin once and sell it once, but a coin
    must be kept for at least wait days: if it is bought on day i it can be sold on day j only if j - i >=
    wait.

    Return the largest profit, or 0 if no allowed trade makes a profit.""",
    """1 <= prices.length <= 1000
    0 <= prices[i] <= 10000
    1 <= wait <= 1000""",
    [([3, 8, 2, 5, 9, 4], 2), ([5, 4, 3], 1)],
    lambda r: (ints(r, 1, 14, 0, 40), r.randint(1, 6)),
    [([5], 1), ([1, 100], 2), ([1, 100, 2, 3], 2), ([9, 1, 9, 1, 9], 3)],
)
def patientTrade(self, prices: list[int], wait: int) -> int:
    best, low = 0, math.inf
    for j in range(wait, len(prices)):
        low = min(low, prices[j - wait])
        best = max(best, prices[j] - low)
    return best


def brute_patientTrade(prices, wait):
    n = len(prices)
    return max([0] + [prices[j] - prices[i] for i in range(n) for j in range(i + wait, n)])


def wrong_patientTrade(prices, wait):
    low, best = prices[0], 0
    for p in prices:
        low = min(low, p)
        best = max(best, p - low)
    return best


@problem(
    "medium",
    "arrays",
    """A part of consecutive elements of nums swings if the signs of its elements alternate: every positive
    element is followed inside the part only by a negative one and every negative element only by a
    positive one. Zero has no sign, so a part that contains a zero never swings. A single non-zero element
    swings.

    Return the length of the longest swinging part, or 0 if there is none.""",
    """1 <= nums.length <= 1000
    -1000 <= nums[i] <= 1000""",
    [([3, -1, 2, 2, -5, 4],), ([0, 0],)],
    lambda r: (ints(r, 1, 16, -3, 3),),
    [([0],), ([5],), ([1, -1, 1, -1],), ([1, 0, -1],), ([-2, 2, 0, 2, -2, 2, -2],)],
)
def longestSwing(self, nums: list[int]) -> int:
    best = run = prev = 0
    for x in nums:
        run = 0 if x == 0 else run + 1 if x * prev < 0 else 1
        best, prev = max(best, run), x
    return best


def brute_longestSwing(nums):
    n, best = len(nums), 0
    for i in range(n):
        for j in range(i, n):
            part = nums[i : j + 1]
            if all(part) and all(x * y < 0 for x, y in zip(part, part[1:])):
                best = max(best, len(part))
    return best


@problem(
    "medium",
    "arrays",
    """For every window of k consecutive elements of nums, count how many different values occur exactly
    once in the window. Return these counts from left to right.""",
    """1 <= k <= nums.length <= 1000
    0 <= nums[i] <= 100""",
    [([1, 2, 1, 3, 3], 3), ([4, 4], 2)],
    lambda r: (lambda a: (a, r.randint(1, len(a))))(ints(r, 1, 16, 0, 5)),
    [([9], 1), ([1, 1, 1, 1], 2), ([1, 2, 3, 4, 5], 5), ([1, 2, 1, 2, 1, 2], 3)],
)
def lonelyInWindow(self, nums: list[int], k: int) -> list[int]:
    count, lonely, out = Counter(), 0, []
    for i, x in enumerate(nums):
        count[x] += 1
        lonely += (count[x] == 1) - (count[x] == 2)
        if i >= k:
            y = nums[i - k]
            count[y] -= 1
            lonely += (count[y] == 1) - (count[y] == 0)
        if i >= k - 1:
            out.append(lonely)
    return out


def brute_lonelyInWindow(nums, k):
    windows = (nums[i : i + k] for i in range(len(nums) - k + 1))
    return [sum(w.count(x) == 1 for x in w) for w in windows]


@problem(
    "easy",
    "arrays",
    """A teacher hands out marks as a permutation of 1..n: marks[i] is the rank of pupil i. Pupil i is
    satisfied if the rank is better (smaller) than the ranks of at least half of all the other pupils, that
    is of at least (n - 1) / 2 of them. Return the indices of the satisfied pupils in increasing order of
    rank.""",
    """1 <= marks.length <= 200
    marks is a permutation of 1..n""",
    [([3, 1, 2],), ([2, 4, 1, 3],)],
    lambda r: (lambda n: (r.sample(range(1, n + 1), n),))(r.randint(1, 10)),
    [([1],), ([2, 1],), ([5, 4, 3, 2, 1],), ([1, 2, 3, 4, 5, 6],)],
)
def satisfiedPupils(self, marks: list[int]) -> list[int]:
    n = len(marks)
    order = sorted(range(n), key=lambda i: marks[i])
    return [i for i in order if 2 * (n - marks[i]) >= n - 1]


# --------------------------------------------------------------------------------------------------- strings
@problem(
    "easy",
    "strings",
    """Shorten a string s of lowercase letters: every maximal run of one letter whose length is greater
    than limit is written as the letter, a star and the length of the run; shorter runs stay as they are.
    Return the result.""",
    """1 <= s.length <= 500
    s consists of lowercase letters
    1 <= limit <= 500""",
    [("aabbbbc", 2), ("zzz", 3)],
    lambda r: ("".join(r.choice("abc") * r.randint(1, 6) for _ in range(r.randint(1, 6))), r.randint(1, 5)),
    [("a", 1), ("aa", 1), ("a" * 12, 11), ("abcabc", 1), ("aaabaaa", 2)],
)
def packRuns(self, s: str, limit: int) -> str:
    out, i = [], 0
    while i < len(s):
        j = i
        while j < len(s) and s[j] == s[i]:
            j += 1
        out.append(f"{s[i]}*{j - i}" if j - i > limit else s[i:j])
        i = j
    return "".join(out)


def brute_packRuns(s, limit):
    runs = ["".join(g) for _, g in itertools.groupby(s)]
    return "".join(g if len(g) <= limit else g[0] + "*" + str(len(g)) for g in runs)


@problem(
    "easy",
    "strings",
    """A drone starts at (0, 0) and follows a flight plan: a string of moves, each a letter N, S, E or W
    followed by a number of metres without leading zeros. N increases y, S decreases y, E increases x, W
    decreases x. Return [x, y] at the end of the plan.""",
    """0 <= plan.length <= 500
    each number of metres is between 1 and 9999""",
    [("N10E3S4",), ("",)],
    lambda r: (
        "".join(
            r.choice("NSEW") + str(r.choice([r.randint(1, 9), r.randint(10, 999)]))
            for _ in range(r.randint(0, 7))
        ),
    ),
    [("W1",), ("N9999S9999",), ("E10E10E10",), ("S5W12N5E12",)],
)
def dronePosition(self, plan: str) -> list[int]:
    x = y = i = 0
    while i < len(plan):
        j = i + 1
        while j < len(plan) and plan[j].isdigit():
            j += 1
        d = int(plan[i + 1 : j])
        x += d * ((plan[i] == "E") - (plan[i] == "W"))
        y += d * ((plan[i] == "N") - (plan[i] == "S"))
        i = j
    return [x, y]


def brute_dronePosition(plan):
    x = y = 0
    for c, d in re.findall(r"([NSEW])(\d+)", plan):
        dx, dy = {"N": (0, 1), "S": (0, -1), "E": (1, 0), "W": (-1, 0)}[c]
        x, y = x + dx * int(d), y + dy * int(d)
    return [x, y]


@problem(
    "easy",
    "strings",
    """Encode a word of lowercase letters from left to right. Vowels (a, e, i, o, u) are kept. A consonant
    is moved forward in the alphabet by the number of vowels that stand before it in the word, wrapping
    from z to a. Return the encoded word.""",
    """1 <= word.length <= 500
    word consists of lowercase letters""",
    [("banana",), ("zoo",)],
    lambda r: (letters(r, 1, 14, "abcdefgimnoprstuvwxyz"),),
    [("a",), ("rhythm",), ("aeiouz",), ("ooooooooooooooooooooooooooz",), ("xyzaxyz",)],
)
def vowelShift(self, word: str) -> str:
    seen, out = 0, []
    for c in word:
        if c in "aeiou":
            seen += 1
            out.append(c)
        else:
            out.append(chr((ord(c) - 97 + seen) % 26 + 97))
    return "".join(out)


@problem(
    "medium",
    "strings",
    """Return the length of the longest prefix of the string s that reads the same forwards and backwards.""",
    """1 <= s.length <= 2000
    s consists of lowercase letters""",
    [("abacab",), ("xyz",)],
    lambda r: (lambda h: (h + r.choice(["", h[-1:]]) + h[::-1] + letters(r, 0, 5, "ab"),))(
        letters(r, 1, 6, "ab")
    ),
    [("a",), ("aa",), ("ab",), ("aabaaab",), ("abababababc",), ("aaaaab",)],
)
def mirrorPrefix(self, s: str) -> int:
    # longest border of s + '#' + reversed(s)
    t = s + "#" + s[::-1]
    fail = [0] * len(t)
    for i in range(1, len(t)):
        k = fail[i - 1]
        while k and t[i] != t[k]:
            k = fail[k - 1]
        fail[i] = k + (t[i] == t[k])
    return fail[-1]


def brute_mirrorPrefix(s):
    return max(n for n in range(1, len(s) + 1) if s[:n] == s[:n][::-1])


@problem(
    "medium",
    "strings",
    """The words of a list are glued together one after another. Before a word is appended, it is pushed
    into the previous word of the list as far as possible: the longest suffix of the previous word that is
    also a prefix of the new word is shared and written only once. The shared part may be at most as long
    as the shorter of the two words.

    Return the length of the final text.""",
    """1 <= words.length <= 100
    1 <= words[i].length <= 50
    words[i] consists of lowercase letters""",
    [(["stone", "nectar", "tar"],), (["ab", "cd"],)],
    lambda r: ([letters(r, 1, 6, "ab") for _ in range(r.randint(1, 5))],),
    [(["a"],), (["aaa", "aaa"],), (["ab", "ba", "ab"],), (["abc", "bcd", "cde"],), (["aaaa", "a", "aaa"],)],
)
def gluedLength(self, words: list[str]) -> int:
    total = len(words[0])
    for a, b in zip(words, words[1:]):
        k = min(len(a), len(b))
        while k and not a.endswith(b[:k]):
            k -= 1
        total += len(b) - k
    return total


@problem(
    "easy",
    "strings",
    """Replace every maximal group of consecutive digits in the text by the sum of its digits, written in
    decimal. All other characters stay as they are. Return the new text.""",
    """0 <= text.length <= 500
    text consists of lowercase letters, digits and spaces""",
    [("room 205b7",), ("no digits",)],
    lambda r: (letters(r, 0, 16, "ab 0123456789"),),
    [("",), ("0",), ("999",), ("1a1a1",), ("00 10 01",)],
)
def digitSums(self, text: str) -> str:
    out, total, inside = [], 0, False
    for c in text + "#":
        if c.isdigit():
            total, inside = total + int(c), True
        else:
            if inside:
                out.append(str(total))
            total, inside = 0, False
            out.append(c)
    return "".join(out)[:-1]


def brute_digitSums(text):
    return re.sub(r"\d+", lambda m: str(sum(map(int, m.group()))), text)


@problem(
    "medium",
    "strings",
    """A necklace is a string s of beads, each a lowercase letter. You want a piece of consecutive beads
    (not wrapping around) that contains every letter of the string need at least as often as it occurs in
    need. Return the length of the shortest such piece, or 0 if there is none.""",
    """1 <= s.length <= 2000
    1 <= need.length <= 100
    s and need consist of lowercase letters""",
    [("abcbba", "bb"), ("abc", "d")],
    lambda r: (letters(r, 1, 18, "abcd"), letters(r, 1, 4, "abcd")),
    [("a", "a"), ("a", "aa"), ("aaabbbccc", "abc"), ("cabac", "ac"), ("abababab", "bbb")],
)
def shortestPiece(self, s: str, need: str) -> int:
    missing, left, best = Counter(need), 0, 0
    lacking = len(need)
    for right, c in enumerate(s):
        lacking -= missing[c] > 0
        missing[c] -= 1
        while lacking == 0:
            if not best or right - left + 1 < best:
                best = right - left + 1
            missing[s[left]] += 1
            lacking += missing[s[left]] > 0
            left += 1
    return best


def brute_shortestPiece(s, need):
    lengths = [
        j - i for i in range(len(s)) for j in range(i + 1, len(s) + 1) if not Counter(need) - Counter(s[i:j])
    ]
    return min(lengths, default=0)


@problem(
    "easy",
    "strings",
    """Turn the identifier name, written with underscores, into one written with capitals: the parts
    between underscores are joined, the first part that is not empty is kept as it is and each later part
    gets its first letter in upper case. Empty parts, which come from leading, trailing or doubled
    underscores, are dropped.""",
    """0 <= name.length <= 200
    name consists of lowercase letters, digits and underscores""",
    [("max_retry_count",), ("__init__",)],
    lambda r: (letters(r, 0, 14, "abc1___"),),
    [("",), ("_",), ("a_1b",), ("one__two",), ("x",), ("a_b_c_d",)],
)
def underscoreToCapitals(self, name: str) -> str:
    parts = [p for p in name.split("_") if p]
    return "".join(parts[:1] + [p[0].upper() + p[1:] for p in parts[1:]])


@problem(
    "easy",
    "strings",
    """A string s of English letters is fair if it has as many uppercase as lowercase letters. In one step
    you may change the case of one letter. Return the smallest number of steps that makes s fair, or -1 if
    that is impossible.""",
    """1 <= s.length <= 500
    s consists of English letters""",
    [("AbCDEF",), ("xyz",)],
    lambda r: ("".join(r.choice("aAbBcd") for _ in range(r.randint(1, 14))),),
    [("a",), ("aB",), ("AAAA",), ("aaaaaaaaaa",), ("ABCDEFab",), ("ABCDEF",), ("zzzzzzzzzzzz",)],
)
def fairCase(self, s: str) -> int:
    return -1 if len(s) % 2 else abs(len(s) // 2 - sum(c.isupper() for c in s))


@problem(
    "medium",
    "strings",
    """Sort the letters of s. Letters that occur in the string order come first, in the order in which they
    stand there; all copies of a letter stay together. Letters that do not occur in order come after them
    and keep the order they had in s. The letters of order are all different.""",
    """0 <= s.length <= 500
    0 <= order.length <= 26
    s and order consist of lowercase letters""",
    [("banana", "nb"), ("cab", "")],
    lambda r: (letters(r, 0, 14, "abcdef"), "".join(r.sample("abcdefgh", r.randint(0, 5)))),
    [("", "abc"), ("zyx", "xyz"), ("hello", "l"), ("aabbcc", "cba")],
)
def letterRank(self, s: str, order: str) -> str:
    rank = {c: i for i, c in enumerate(order)}
    return "".join(sorted(s, key=lambda c: rank.get(c, len(order))))


def brute_letterRank(s, order):
    return "".join(c * s.count(c) for c in order) + "".join(c for c in s if c not in order)


@problem(
    "easy",
    "strings",
    """Return the longest string that every word of the list words ends with. It may be empty.""",
    """1 <= words.length <= 100
    0 <= words[i].length <= 100
    words[i] consists of lowercase letters""",
    [(["singing", "ring", "morning"],), (["cat", "dog"],)],
    lambda r: (lambda t: ([letters(r, 0, 4, "ab") + t for _ in range(r.randint(1, 4))],))(
        letters(r, 0, 5, "abc")
    ),
    [(["a"],), (["", "a"],), (["same", "same"],), (["xa", "a", "yya"],)],
)
def sharedEnding(self, words: list[str]) -> str:
    k, shortest = 0, min(len(w) for w in words)
    while k < shortest and len({w[-1 - k] for w in words}) == 1:
        k += 1
    return words[0][len(words[0]) - k :]


@problem(
    "medium",
    "strings",
    """A wallpaper pattern is printed by repeating a tile again and again and cutting the print anywhere.
    Given the printed string s, return the length of the shortest tile that could have been used: the
    smallest p >= 1 such that s[i] == s[i - p] for every index i >= p.""",
    """1 <= s.length <= 5000
    s consists of lowercase letters""",
    [("abcabcab",), ("abcd",)],
    lambda r: (lambda t: ((t * 5)[: r.randint(1, 5 * len(t))],))(letters(r, 1, 6, "ab")),
    [("a",), ("aaaa",), ("aaab",), ("abaab" * 4 + "ab",), ("ab" * 20 + "a",)],
)
def tileLength(self, s: str) -> int:
    fail = [0] * len(s)
    for i in range(1, len(s)):
        k = fail[i - 1]
        while k and s[i] != s[k]:
            k = fail[k - 1]
        fail[i] = k + (s[i] == s[k])
    return len(s) - fail[-1]


def brute_tileLength(s):
    return next(p for p in range(1, len(s) + 1) if s[p:] == s[: len(s) - p])


@problem(
    "easy",
    "strings",
    """A release number, given as version, is written as parts separated by dots, for example "2.9.9".
    Every part is a number from 0 to 9 except the first, which may be any non-negative number without
    leading zeros. The next release adds one to the last part; a part other than the first that would
    become 10 becomes 0 and adds one to the part before it. Return the next release number.""",
    """1 <= number of parts <= 20
    0 <= first part <= 10000""",
    [("1.2.3",), ("2.9.9",)],
    lambda r: (
        ".".join([str(r.randint(0, 30))] + [str(r.choice([0, 5, 8, 9, 9])) for _ in range(r.randint(0, 4))]),
    ),
    [("0",), ("9",), ("99.9",), ("0.0.0",), ("9.9.9.9",), ("3.9.0",)],
)
def nextRelease(self, version: str) -> str:
    parts = [int(p) for p in version.split(".")]
    i = len(parts) - 1
    parts[i] += 1
    while i > 0 and parts[i] == 10:
        parts[i] = 0
        i -= 1
        parts[i] += 1
    return ".".join(map(str, parts))


@problem(
    "easy",
    "strings",
    """A message is hidden in a poem: from line number i (counting from 0) take the character at position
    (i * step) modulo the length of the line. Empty lines give no character, but they are counted. Return
    the hidden message.""",
    """1 <= poem.length <= 100
    0 <= poem[i].length <= 100
    0 <= step <= 100
    lines consist of lowercase letters and spaces""",
    [(["hello", "world", "again"], 1), (["", "ab"], 3)],
    lambda r: ([letters(r, 0, 7, "abcxyz ") for _ in range(r.randint(1, 6))], r.randint(0, 9)),
    [(["a"], 100), ([""], 1), (["abc", "", "abc", "abc"], 1), (["xy", "xy", "xy"], 0)],
)
def hiddenMessage(self, poem: list[str], step: int) -> str:
    return "".join(line[i * step % len(line)] for i, line in enumerate(poem) if line)


@problem(
    "medium",
    "strings",
    """The score of a word is the number of its different substrings of length k. Return the score of the
    word.""",
    """1 <= word.length <= 1000
    1 <= k <= 1000""",
    [("ababc", 2), ("aaaa", 2)],
    lambda r: (letters(r, 1, 16, "ab"), r.randint(1, 5)),
    [("a", 1), ("a", 2), ("abcdef", 3), ("abababab", 3), ("aaaaaaa", 7)],
)
def substringScore(self, word: str, k: int) -> int:
    return len({word[i : i + k] for i in range(len(word) - k + 1)})


@problem(
    "medium",
    "strings",
    """The strings first and second are two log lines. Two log lines are alike if one can be turned into
    the other by exchanging two different letters everywhere (all copies of x become y and all copies of y
    become x, for one pair of letters x and y), or if they are equal. Return true if first and second are
    alike.""",
    """1 <= first.length, second.length <= 500
    both consist of lowercase letters""",
    [("abca", "cbac"), ("abc", "bca")],
    lambda r: (
        lambda s, x, y: (
            s,
            s.translate(str.maketrans(x + y, y + x))
            if r.random() < 0.6
            else letters(r, len(s), len(s), "abc"),
        )
    )(letters(r, 1, 8, "abcd"), *r.sample("abcd", 2)),
    [
        ("a", "a"),
        ("a", "b"),
        ("ab", "ba"),
        ("ab", "bb"),
        ("abc", "ab"),
        ("aab", "bba"),
        ("abcd", "badc"),
        ("aa", "bc"),
    ],
)
def alikeLines(self, first: str, second: str) -> bool:
    if len(first) != len(second):
        return False
    pair = {(a, b) for a, b in zip(first, second) if a != b}
    if not pair:
        return True
    x, y = next(iter(pair))
    swap = {x: y, y: x}
    return all(swap.get(a, a) == b for a, b in zip(first, second))


def brute_alikeLines(first, second):
    abc = "abcdefghijklmnopqrstuvwxyz"
    return first == second or any(
        first.translate(str.maketrans(x + y, y + x)) == second for x, y in combinations(abc, 2)
    )


# ------------------------------------------------------------------------------------------------- hash maps
@problem(
    "easy",
    "hash maps",
    """The digital root of a positive integer is found by adding its digits again and again until one digit
    is left. Group the numbers of nums by digital root. Return the groups in increasing order of the
    digital root; inside a group the numbers keep the order they have in nums.""",
    """0 <= nums.length <= 200
    1 <= nums[i] <= 10^9""",
    [([38, 11, 2, 9],), ([],)],
    lambda r: ([r.randint(1, 60) for _ in range(r.randint(0, 9))],),
    [([1000000000],), ([9, 18, 27],), ([999999999, 1, 10],), ([5, 4, 3, 2, 1],)],
)
def rootGroups(self, nums: list[int]) -> list[list[int]]:
    groups = defaultdict(list)
    for x in nums:
        groups[(x - 1) % 9 + 1].append(x)
    return [groups[k] for k in sorted(groups)]


def brute_rootGroups(nums):
    def root(x):
        while x > 9:
            x = sum(map(int, str(x)))
        return x

    return [g for k in range(1, 10) if (g := [x for x in nums if root(x) == k])]


@problem(
    "easy",
    "hash maps",
    """A library keeps a list of visits; visits[i] is "name day", a reader's name and a day number
    separated by one space. A reader may visit several times on one day. Return the name of the reader who
    came on the most different days; among equals the name that comes first in alphabetical order.""",
    """1 <= visits.length <= 500
    names consist of lowercase letters
    1 <= day <= 365""",
    [(["mia 3", "tom 3", "mia 3", "tom 4"],), (["zoe 1", "ann 2"],)],
    lambda r: ([f"{r.choice(WORDS[:4])} {r.randint(1, 5)}" for _ in range(r.randint(1, 12))],),
    [(["x 1"],), (["b 1", "b 1", "b 1", "a 365"],), (["bo 12", "bo 1", "bob 2", "bob 1", "bob 3"],)],
)
def loyalReader(self, visits: list[str]) -> str:
    days = defaultdict(set)
    for v in visits:
        name, day = v.split()
        days[name].add(day)
    return min(days, key=lambda name: (-len(days[name]), name))


@problem(
    "easy",
    "hash maps",
    """The stock of a shop is counted twice. before[i] and after[i] are strings "item count". An item that
    is not listed has count 0; every item is listed at most once per count. Return, in alphabetical order
    of the items, a string "item change" for each item whose count changed, where change is written with a
    sign, for example "tea +3" or "tea -12".""",
    """0 <= before.length, after.length <= 200
    0 <= count <= 10000""",
    [(["tea 5", "salt 2"], ["tea 8", "rice 1", "salt 2"]), (["oil 4"], [])],
    lambda r: tuple([f"{w} {r.randint(0, 5)}" for w in r.sample(WORDS[:6], r.randint(0, 5))] for _ in "ab"),
    [([], []), (["a 0"], []), ([], ["b 0", "a 1"]), (["x 10000"], ["x 0"])],
)
def stockChanges(self, before: list[str], after: list[str]) -> list[str]:
    change = Counter()
    for sign, rows in ((-1, before), (1, after)):
        for row in rows:
            item, count = row.split()
            change[item] += sign * int(count)
    return [f"{item} {d:+d}" for item, d in sorted(change.items()) if d]


@problem(
    "medium",
    "hash maps",
    """Return the number of index pairs i < j for which nums[i] + nums[j] is a multiple of k.""",
    """1 <= nums.length <= 5000
    -10^6 <= nums[i] <= 10^6
    1 <= k <= 1000""",
    [([1, 5, 3, 9], 4), ([-2, 2, 4], 2)],
    lambda r: (ints(r, 1, 14, -20, 20), r.randint(1, 7)),
    [([5], 1), ([0, 0, 0], 5), ([1, 2, 3, 4, 5, 6, 7, 8, 9], 10), ([-1, 1, -1, 1], 3)],
)
def multiplePairs(self, nums: list[int], k: int) -> int:
    seen, count = Counter(), 0
    for x in nums:
        count += seen[-x % k]
        seen[x % k] += 1
    return count


def brute_multiplePairs(nums, k):
    return sum((x + y) % k == 0 for x, y in combinations(nums, 2))


@problem(
    "easy",
    "hash maps",
    """In a text of words separated by single spaces, find the first word that no other position of the
    text repeats, ignoring upper and lower case. Return it as it is written in the text, or an empty string
    if there is none.""",
    """1 <= text.length <= 1000
    text consists of English letters and single spaces between words""",
    [("The cat saw the dog",), ("no No NO",)],
    lambda r: (
        " ".join(r.choice([str.lower, str.title])(r.choice(WORDS[:6])) for _ in range(r.randint(1, 9))),
    ),
    [("a",), ("a A b",), ("one two one two Three",), ("x y z x y",)],
)
def firstSingleWord(self, text: str) -> str:
    words = text.split(" ")
    count = Counter(w.lower() for w in words)
    return next((w for w in words if count[w.lower()] == 1), "")


@problem(
    "medium",
    "hash maps",
    """Two words belong to one family if they use the same set of letters; how often a letter occurs does
    not matter. Return the size of the largest family in the list. Equal words at different positions count
    separately.""",
    """1 <= words.length <= 500
    1 <= words[i].length <= 30
    words[i] consists of lowercase letters""",
    [(["tea", "eat", "tate", "cat"],), (["a", "b"],)],
    lambda r: ([letters(r, 1, 4, "abc") for _ in range(r.randint(1, 10))],),
    [(["x"],), (["x", "xx", "xxx"],), (["ab", "ba", "aabb", "abc", "cab"],)],
)
def largestFamily(self, words: list[str]) -> int:
    return max(Counter(frozenset(w) for w in words).values())


@problem(
    "medium",
    "hash maps",
    """Return the number of non-empty parts of consecutive elements of nums whose sum leaves the remainder
    r when it is divided by k. Remainders are from 0 to k - 1, also for negative sums.""",
    """1 <= nums.length <= 5000
    -1000 <= nums[i] <= 1000
    1 <= k <= 1000
    0 <= r < k""",
    [([2, 3, 5], 5, 0), ([-1, 4], 3, 2)],
    lambda r: (lambda k: (ints(r, 1, 14, -9, 9), k, r.randrange(k)))(r.randint(1, 6)),
    [([0], 1, 0), ([1], 2, 0), ([7, 7, 7, 7], 7, 0), ([-5, 5, -5], 4, 3)],
)
def remainderParts(self, nums: list[int], k: int, r: int) -> int:
    seen, total, count = Counter({0: 1}), 0, 0
    for x in nums:
        total = (total + x) % k
        count += seen[(total - r) % k]
        seen[total] += 1
    return count


def brute_remainderParts(nums, k, r):
    n = len(nums)
    return sum(sum(nums[i:j]) % k == r for i in range(n) for j in range(i + 1, n + 1))


@problem(
    "medium",
    "hash maps",
    """A queue of fans is a string of 'R' (red scarf), 'B' (blue scarf) and '-' (no scarf). Return the
    length of the longest part of consecutive fans that contains equally many red and blue scarves. Fans
    without a scarf count for the length; a part without any scarf qualifies.""",
    """1 <= queue.length <= 5000
    queue consists of 'R', 'B' and '-'""",
    [("RRB-B",), ("R-R",)],
    lambda r: (letters(r, 1, 18, r.choice(["RB", "RRB-", "RB-"])),),
    [("R",), ("-",), ("RB",), ("RRRR",), ("RRRBBRRR",), ("--R--",)],
)
def evenScarves(self, queue: str) -> int:
    first, level, best = {0: -1}, 0, 0
    for i, c in enumerate(queue):
        level += (c == "R") - (c == "B")
        best = max(best, i - first.setdefault(level, i))
    return best


def brute_evenScarves(queue):
    n = len(queue)
    good = [
        j - i for i in range(n) for j in range(i, n + 1) if queue[i:j].count("R") == queue[i:j].count("B")
    ]
    return max(good)


@problem(
    "easy",
    "hash maps",
    """A door lock logs every use as [card, minute]. A card is suspicious if it was used at least three
    times within some span of ten minutes, that is if three of its uses lie at minutes t1 <= t2 <= t3 with
    t3 - t1 <= 10. Return the suspicious cards in increasing order. The log is not sorted.""",
    """0 <= log.length <= 500
    1 <= card <= 1000
    0 <= minute <= 1440""",
    [([[7, 10], [7, 25], [7, 15], [7, 20]],), ([[1, 0], [1, 5]],)],
    lambda r: ([[r.randint(1, 4), r.randint(0, 45)] for _ in range(r.randint(0, 14))],),
    [([],), ([[5, 3], [5, 3], [5, 3]],), ([[2, 0], [2, 5], [2, 11]],), ([[2, 10], [2, 0], [2, 5], [1, 1]],)],
)
def suspiciousCards(self, log: list[list[int]]) -> list[int]:
    uses = defaultdict(list)
    for card, minute in log:
        uses[card].append(minute)
    out = []
    for card, times in uses.items():
        times.sort()
        if any(c - a <= 10 for a, c in zip(times, times[2:])):
            out.append(card)
    return sorted(out)


def brute_suspiciousCards(log):
    bad = set()
    for a, b, c in combinations(log, 3):
        ts = [a[1], b[1], c[1]]
        if a[0] == b[0] == c[0] and max(ts) - min(ts) <= 10:
            bad.add(a[0])
    return sorted(bad)


@problem(
    "medium",
    "hash maps",
    """Return the largest number of index pairs that have the same difference: for each value d >= 0 count
    the index pairs i < j with |nums[i] - nums[j]| = d, and return the largest of these counts. With fewer
    than two elements return 0.""",
    """0 <= nums.length <= 300
    -1000 <= nums[i] <= 1000""",
    [([1, 3, 5, 9],), ([4],)],
    lambda r: (ints(r, 0, 12, 0, 15),),
    [([],), ([7, 7, 7],), ([1, 2],), ([-3, 0, 3, 6, 9],), ([0, 10, 1, 11, 2, 12],)],
)
def commonDifference(self, nums: list[int]) -> int:
    count = Counter(abs(x - y) for x, y in combinations(nums, 2))
    return max(count.values(), default=0)


# ---------------------------------------------------------------------------------- two pointers and windows
@problem(
    "medium",
    "two pointers",
    """costs[i] is the price of the i-th day of a journey; all prices are positive. Return the largest
    number of consecutive days that together cost at most budget.""",
    """1 <= costs.length <= 5000
    1 <= costs[i] <= 10000
    0 <= budget <= 10^8""",
    [([4, 2, 3, 1, 6], 6), ([5], 4)],
    lambda r: (ints(r, 1, 16, 1, 9), r.randint(0, 30)),
    [([1], 0), ([1, 1, 1, 1], 4), ([9, 1, 1, 1, 9], 3), ([2, 2, 2, 2, 2], 5)],
)
def daysWithinBudget(self, costs: list[int], budget: int) -> int:
    left = total = best = 0
    for right, c in enumerate(costs):
        total += c
        while total > budget:
            total -= costs[left]
            left += 1
        best = max(best, right - left + 1)
    return best


def brute_daysWithinBudget(costs, budget):
    n = len(costs)
    return max(j - i for i in range(n) for j in range(i, n + 1) if sum(costs[i:j]) <= budget)


@problem(
    "medium",
    "two pointers",
    """The arrays a and b are sorted in non-decreasing order. Return the number of pairs (i, j) with low <=
    a[i] + b[j] <= high.""",
    """0 <= a.length, b.length <= 5000
    -10^5 <= a[i], b[i] <= 10^5
    low <= high""",
    [([1, 3, 5], [2, 4], 5, 7), ([], [1], 0, 9)],
    lambda r: (
        (sorted(ints(r, 0, 9, -9, 12)), sorted(ints(r, 0, 9, -9, 12)))
        + tuple(sorted(r.randint(-12, 20) for _ in "ab"))
    ),
    [([0], [0], 0, 0), ([1, 1, 1], [2, 2], 3, 3), ([-5, 0, 5], [-5, 0, 5], -1, 1), ([1, 2], [3, 4], 8, 9)],
)
def sumsInRange(self, a: list[int], b: list[int], low: int, high: int) -> int:
    def at_most(limit):
        j, count = len(b), 0
        for x in a:
            while j and x + b[j - 1] > limit:
                j -= 1
            count += j
        return count

    return at_most(high) - at_most(low - 1)


def brute_sumsInRange(a, b, low, high):
    return sum(low <= x + y <= high for x in a for y in b)


@problem(
    "medium",
    "two pointers",
    """A conveyor belt carries items[i], the kind of the i-th item. A robot may pick any run of consecutive
    items that contains at most k different kinds. Return the start index of the longest such run; if
    several runs are longest, return the smallest start index.""",
    """1 <= items.length <= 5000
    1 <= k <= 100
    0 <= items[i] <= 1000""",
    [([1, 2, 1, 3, 3, 3], 2), ([5, 5], 1)],
    lambda r: (ints(r, 1, 16, 0, r.randint(1, 5)), r.randint(1, 3)),
    [([4], 9), ([1, 2, 3, 4], 1), ([1, 1, 2, 2, 2, 3], 1), ([1, 2, 3, 1, 2, 3, 3], 2)],
)
def beltStart(self, items: list[int], k: int) -> int:
    count, left, best, start = Counter(), 0, 0, 0
    for right, x in enumerate(items):
        count[x] += 1
        while len(count) > k:
            y = items[left]
            count[y] -= 1
            if not count[y]:
                del count[y]
            left += 1
        if right - left + 1 > best:
            best, start = right - left + 1, left
    return start


def brute_beltStart(items, k):
    n = len(items)
    runs = [(j - i, -i) for i in range(n) for j in range(i + 1, n + 1) if len(set(items[i:j])) <= k]
    return -max(runs)[1]


@problem(
    "easy",
    "two pointers",
    """The array nums is sorted in non-decreasing order. Keep at most limit copies of every value, drop the
    other copies, and return the remaining values in order.""",
    """0 <= nums.length <= 1000
    -1000 <= nums[i] <= 1000
    0 <= limit <= 1000""",
    [([1, 1, 1, 2, 3, 3], 2), ([4, 4], 0)],
    lambda r: (sorted(ints(r, 0, 14, 0, 5)), r.randint(0, 4)),
    [([], 1), ([0, 0, 0, 0], 3), ([-1, -1, 0, 1], 1), ([2, 2, 2], 1000)],
)
def atMostCopies(self, nums: list[int], limit: int) -> list[int]:
    if limit == 0:
        return []
    out = []
    for x in nums:
        if len(out) < limit or out[-limit] != x:
            out.append(x)
    return out


def brute_atMostCopies(nums, limit):
    return [x for x in sorted(set(nums)) for _ in range(min(limit, nums.count(x)))]


@problem(
    "medium",
    "two pointers",
    """Three sorted arrays a, b and c hold the departure times of three lines. You choose one time from
    each array. The waiting time is the largest of the three chosen times minus the smallest. Return the
    smallest possible waiting time.""",
    """1 <= a.length, b.length, c.length <= 2000
    0 <= times <= 10^6
    each array is sorted in non-decreasing order""",
    [([1, 10, 20], [7, 12], [9, 30]), ([5], [5], [5])],
    lambda r: tuple(sorted(ints(r, 1, 6, 0, 60)) for _ in "abc"),
    [([0], [1000000], [500000]), ([1, 2, 3], [4, 5, 6], [7, 8, 9]), ([1, 50], [2, 51], [3, 90])],
)
def shortestWait(self, a: list[int], b: list[int], c: list[int]) -> int:
    i = j = k = 0
    best = math.inf
    while i < len(a) and j < len(b) and k < len(c):
        low = min(a[i], b[j], c[k])
        best = min(best, max(a[i], b[j], c[k]) - low)
        if a[i] == low:
            i += 1
        elif b[j] == low:
            j += 1
        else:
            k += 1
    return best


def brute_shortestWait(a, b, c):
    return min(max(t) - min(t) for t in product(a, b, c))


@problem(
    "easy",
    "two pointers",
    """Reverse the order of the consonants of the word and leave every vowel (a, e, i, o, u) at its place.
    Return the new word.""",
    """0 <= word.length <= 1000
    word consists of lowercase letters""",
    [("garden",), ("aeiou",)],
    lambda r: (letters(r, 0, 12, "abcdeiotrsu"),),
    [("",), ("b",), ("bcd",), ("aba",), ("strength",)],
)
def flipConsonants(self, word: str) -> str:
    s, i, j = list(word), 0, len(word) - 1
    while i < j:
        if s[i] in "aeiou":
            i += 1
        elif s[j] in "aeiou":
            j -= 1
        else:
            s[i], s[j] = s[j], s[i]
            i, j = i + 1, j - 1
    return "".join(s)


def brute_flipConsonants(word):
    rest = [c for c in word if c not in "aeiou"]
    return "".join(c if c in "aeiou" else rest.pop() for c in word)


@problem(
    "medium",
    "two pointers",
    """lamps is a string of '1' (on) and '0' (off). You may switch on at most k lamps that are off. Return
    the largest number of lamps in a row that are on afterwards.""",
    """1 <= lamps.length <= 5000
    0 <= k <= lamps.length""",
    [("1001101", 1), ("000", 2)],
    lambda r: (lambda s: (s, r.randint(0, min(4, len(s)))))(letters(r, 1, 20, "0011")),
    [("0", 0), ("0", 1), ("111", 0), ("0101010", 2), ("1100110011", 2)],
)
def brightRow(self, lamps: str, k: int) -> int:
    left = off = best = 0
    for right, c in enumerate(lamps):
        off += c == "0"
        while off > k:
            off -= lamps[left] == "0"
            left += 1
        best = max(best, right - left + 1)
    return best


def brute_brightRow(lamps, k):
    n = len(lamps)
    return max(j - i for i in range(n) for j in range(i, n + 1) if lamps[i:j].count("0") <= k)


@problem(
    "medium",
    "two pointers",
    """Return the number of parts of consecutive elements of nums in which the largest element minus the
    smallest element is at most spread.""",
    """1 <= nums.length <= 5000
    -10^5 <= nums[i] <= 10^5
    0 <= spread <= 10^5""",
    [([4, 6, 5, 9], 2), ([1, 1], 0)],
    lambda r: (ints(r, 1, 14, 0, 12), r.randint(0, 7)),
    [([3], 0), ([1, 2, 3, 4], 1), ([5, 1, 5, 1], 3), ([9, 8, 7, 6, 5], 100)],
)
def tightParts(self, nums: list[int], spread: int) -> int:
    high, low, left, count = deque(), deque(), 0, 0
    for right, x in enumerate(nums):
        while high and nums[high[-1]] <= x:
            high.pop()
        while low and nums[low[-1]] >= x:
            low.pop()
        high.append(right)
        low.append(right)
        while nums[high[0]] - nums[low[0]] > spread:
            left += 1
            if high[0] < left:
                high.popleft()
            if low[0] < left:
                low.popleft()
        count += right - left + 1
    return count


def brute_tightParts(nums, spread):
    n = len(nums)
    return sum(max(nums[i:j]) - min(nums[i:j]) <= spread for i in range(n) for j in range(i + 1, n + 1))


# ------------------------------------------------------------------------------------------------- stacks
@problem(
    "easy",
    "stacks",
    """A simple editor reads keys from left to right. A lowercase letter is typed at the end of the text.
    The key '<' deletes the last letter of the text, if there is one. The key '>' brings back the letter
    that was deleted last and has not been brought back yet, if there is one; typing a letter does not
    clear the deleted letters. Return the final text.""",
    """0 <= keys.length <= 1000
    keys consists of lowercase letters, '<' and '>'""",
    [("abc<<d>",), ("<<a>",)],
    lambda r: (letters(r, 0, 14, "abc<<>"),),
    [("",), ("a<>",), ("ab<<>>",), ("abc<<<>x>",), (">><<",)],
)
def editorKeys(self, keys: str) -> str:
    text, gone = [], []
    for c in keys:
        if c == "<":
            if text:
                gone.append(text.pop())
        elif c == ">":
            if gone:
                text.append(gone.pop())
        else:
            text.append(c)
    return "".join(text)


@problem(
    "medium",
    "stacks",
    """prices lists what a shop asks for an article on consecutive days. For every day, find out how many
    days a buyer has to wait for a price that is lower by at least drop. Return the array of waiting times,
    with 0 where no such day comes. drop is positive.""",
    """1 <= prices.length <= 2000
    0 <= prices[i] <= 10^6
    1 <= drop <= 10^6""",
    [([9, 8, 6, 7, 3], 2), ([1, 2, 3], 1)],
    lambda r: (ints(r, 1, 14, 0, 20), r.randint(1, 6)),
    [([5], 1), ([10, 0], 10), ([10, 1], 10), ([5, 4, 3, 2, 1], 3), ([7, 7, 6, 7, 1], 1)],
)
def waitForDrop(self, prices: list[int], drop: int) -> list[int]:
    out, heap = [0] * len(prices), []
    for i, p in enumerate(prices):
        while heap and -heap[0][0] - drop >= p:
            j = heappop(heap)[1]
            out[j] = i - j
        heappush(heap, (-p, i))
    return out


def brute_waitForDrop(prices, drop):
    n = len(prices)
    return [next((j - i for j in range(i + 1, n) if prices[j] <= prices[i] - drop), 0) for i in range(n)]


@problem(
    "easy",
    "stacks",
    """A formula uses the brackets (), [] and {} and other characters. If the brackets are correctly
    nested, return the greatest depth of nesting (0 without brackets). Otherwise return -1.""",
    """0 <= formula.length <= 1000
    formula consists of lowercase letters, digits and the six bracket characters""",
    [("a(b[c]{d})",), ("(a]",)],
    lambda r: (
        r.choice(
            [
                letters(r, 0, 6, "()[]"),
                "a([b]{c})",
                "([{" + "x" * r.randint(0, 3) + "}])",
                "()" * r.randint(1, 4),
                "[" * r.randint(1, 6) + "]" * r.randint(1, 6),
                "{(a)}[()]",
            ]
        ),
    ),
    [("",), ("abc",), ("(",), (")(",), ("([)]",), ("((()))",), ("{[()()]}()",)],
)
def nestingDepth(self, formula: str) -> int:
    stack, depth = [], 0
    opener = {")": "(", "]": "[", "}": "{"}
    for c in formula:
        if c in "([{":
            stack.append(c)
            depth = max(depth, len(stack))
        elif c in opener and (not stack or stack.pop() != opener[c]):
            return -1
    return -1 if stack else depth


def brute_nestingDepth(formula):
    s = re.sub(r"[^()\[\]{}]", "", formula)
    shrunk, depth = s, 0
    while True:  # peel one layer of innermost pairs at a time; layers peeled = depth of nesting
        nxt = re.sub(r"\(\)|\[\]|\{\}", "", shrunk)
        if nxt == shrunk:
            break
        shrunk = nxt
    if shrunk:
        return -1
    level = 0
    for c in s:
        level += 1 if c in "([{" else -1
        depth = max(depth, level)
    return depth


@problem(
    "medium",
    "stacks",
    """Evaluate a program for a stack machine. The tokens are executed in order: an integer is pushed; "+",
    "-", "*" replace the two top numbers x (below) and y (top) by x + y, x - y, x * y; "dup" pushes a copy
    of the top number; "swap" exchanges the two top numbers; "drop" removes the top number. If a token
    finds too few numbers on the stack, the program stops at once and the result is the empty list.
    Otherwise return the stack from bottom to top.""",
    """0 <= tokens.length <= 200
    intermediate results stay within 64 bits""",
    [(["3", "4", "-", "dup", "*"],), (["1", "+"],)],
    lambda r: (
        [
            r.choice(["2", "3", "-1", "5", "7", "+", "-", "*", "dup", "swap", "drop"])
            for _ in range(r.randint(0, 9))
        ],
    ),
    [
        ([],),
        (["dup"],),
        (["1", "2", "swap", "-"],),
        (["1", "drop", "drop"],),
        (["5", "dup", "dup", "+", "*"],),
    ],
)
def stackMachine(self, tokens: list[str]) -> list[int]:
    stack = []
    need = {"+": 2, "-": 2, "*": 2, "dup": 1, "swap": 2, "drop": 1}
    for t in tokens:
        if len(stack) < need.get(t, 0):
            return []
        if t == "dup":
            stack.append(stack[-1])
        elif t == "drop":
            stack.pop()
        elif t in need:
            y, x = stack.pop(), stack.pop()
            stack += [y, x] if t == "swap" else [x + y if t == "+" else x - y if t == "-" else x * y]
        else:
            stack.append(int(t))
    return stack


@problem(
    "medium",
    "stacks",
    """Two letters are neighbours if they follow each other in the alphabet, such as 'c' and 'd' in either
    order ('a' and 'z' are no neighbours). Read the string s from left to right and build a result: if the
    next letter is a neighbour of the last letter of the result, delete that last letter and skip the next
    letter; otherwise append the next letter. Return the result.""",
    """0 <= s.length <= 1000
    s consists of lowercase letters""",
    [("abda",), ("hgfe",)],
    lambda r: (letters(r, 0, 14, "abcd"),),
    [("",), ("az",), ("ab",), ("abcabc",), ("acbd",), ("bbaa",)],
)
def neighbourVanish(self, s: str) -> str:
    out = []
    for c in s:
        if out and abs(ord(out[-1]) - ord(c)) == 1:
            out.pop()
        else:
            out.append(c)
    return "".join(out)


@problem(
    "medium",
    "queues",
    """Printing jobs wait in a queue; urgency[i] is the urgency of the i-th job from the front. The printer
    takes the front job: if some job still in the queue is strictly more urgent, the job goes to the back
    of the queue, otherwise it is printed. Return the order in which the jobs (given by their original
    indices) are printed.""",
    """1 <= urgency.length <= 100
    0 <= urgency[i] <= 9""",
    [([1, 3, 2, 3],), ([0],)],
    lambda r: (ints(r, 1, 9, 0, 4),),
    [([5, 5, 5],), ([1, 2, 3, 4],), ([4, 3, 2, 1],), ([1, 9, 1, 9, 1],)],
)
def printOrder(self, urgency: list[int]) -> list[int]:
    queue, out = deque(enumerate(urgency)), []
    while queue:
        i, u = queue.popleft()
        if any(v > u for _, v in queue):
            queue.append((i, u))
        else:
            out.append(i)
    return out


@problem(
    "medium",
    "stacks",
    """Wagons 1, 2, ..., n arrive in this order at a dead-end siding that works as a stack. Whenever you
    like, the wagon at the open end of the siding leaves. wanted is a permutation of 1..n: the order in
    which the wagons should leave. Return the smallest capacity of the siding (number of wagons in it at
    one time) with which the order can be produced, or -1 if it cannot be produced at all. Every wagon
    enters the siding, if only for a moment.""",
    """1 <= wanted.length <= 1000
    wanted is a permutation of 1..n""",
    [([2, 1, 3],), ([3, 1, 2],)],
    lambda r: (lambda n: (r.sample(range(1, n + 1), n),))(r.randint(1, 5)),
    [([1],), ([1, 2, 3, 4],), ([4, 3, 2, 1],), ([2, 4, 3, 1],), ([1, 3, 2, 5, 4],), ([3, 2, 5, 4, 1],)],
)
def sidingCapacity(self, wanted: list[int]) -> int:
    stack, nxt, most = [], 1, 0
    for w in wanted:
        while nxt <= w:
            stack.append(nxt)
            nxt += 1
            most = max(most, len(stack))
        if stack.pop() != w:
            return -1
    return most


@problem(
    "medium",
    "stacks",
    """Houses of the given heights stand in a row. From the roof of house i you look to the right: you see
    house j if every house between them is lower than both. Return for every house the number of houses it
    sees to its right.""",
    """1 <= heights.length <= 2000
    1 <= heights[i] <= 10^5""",
    [([5, 1, 2, 3, 6],), ([2, 2, 2],)],
    lambda r: (ints(r, 1, 12, 1, 9),),
    [([7],), ([1, 2, 3, 4],), ([4, 3, 2, 1],), ([3, 1, 3, 1, 3],)],
)
def roofViews(self, heights: list[int]) -> list[int]:
    out, stack = [0] * len(heights), []
    for i in range(len(heights) - 1, -1, -1):
        while stack:
            out[i] += 1
            top = stack[-1]
            if top < heights[i]:
                stack.pop()
            else:
                if top == heights[i]:
                    stack.pop()
                break
        stack.append(heights[i])
    return out


def brute_roofViews(heights):
    n = len(heights)
    return [
        sum(all(h < min(heights[i], heights[j]) for h in heights[i + 1 : j]) for j in range(i + 1, n))
        for i in range(n)
    ]


@problem(
    "medium",
    "queues",
    """A computer runs tasks in turns. Task i needs need[i] units of work. The tasks stand in a queue in
    index order; the front task works for min(quantum, what it still needs) units; if it is not finished it
    goes to the back of the queue. Return for every task the time at which it finishes, counting from 0 in
    units of work.""",
    """1 <= need.length <= 200
    1 <= need[i] <= 1000
    1 <= quantum <= 1000""",
    [([3, 1, 2], 1), ([5], 2)],
    lambda r: (ints(r, 1, 7, 1, 9), r.randint(1, 5)),
    [([1], 1000), ([2, 2, 2], 2), ([1, 10], 3), ([4, 4], 3)],
)
def finishTimes(self, need: list[int], quantum: int) -> list[int]:
    queue, out, now = deque(enumerate(need)), [0] * len(need), 0
    while queue:
        i, left = queue.popleft()
        step = min(quantum, left)
        now += step
        if left > step:
            queue.append((i, left - step))
        else:
            out[i] = now
    return out


@problem(
    "medium",
    "stacks",
    """For every part of consecutive elements of nums take its largest element. Return the sum of these
    largest elements over all parts, modulo 1000000007.""",
    """1 <= nums.length <= 5000
    1 <= nums[i] <= 10^6""",
    [([3, 1, 2],), ([5],)],
    lambda r: (ints(r, 1, 14, 1, 20),),
    [([1000000] * 60,), ([1, 2, 3, 4],), ([4, 4, 4],), ([9, 1, 9],)],
)
def sumOfPartMaxima(self, nums: list[int]) -> int:
    # stack of (value, sum of the maxima of all parts that end here)
    stack, total = [], 0
    for i, x in enumerate(nums):
        while stack and nums[stack[-1][0]] <= x:
            stack.pop()
        start, below = (stack[-1][0], stack[-1][1]) if stack else (-1, 0)
        ending = below + (i - start) * x
        stack.append((i, ending))
        total += ending
    return total % 1000000007


def brute_sumOfPartMaxima(nums):
    n = len(nums)
    return sum(max(nums[i:j]) for i in range(n) for j in range(i + 1, n + 1)) % MOD


# ---------------------------------------------------------------------------------------- dynamic programming
@problem(
    "easy",
    "dynamic programming",
    """A staircase has n steps. You start below step 1 and climb 1 or 2 steps at a time until you stand
    exactly on step n, but you may never stand on a step listed in broken. Return the number of ways modulo
    1000000007.""",
    """1 <= n <= 5000
    0 <= broken.length <= n
    1 <= broken[i] <= n""",
    [(4, []), (5, [3])],
    lambda r: (lambda n: (n, r.sample(range(1, n + 1), min(n, r.choice([0, 0, 1, 1, 2])))))(r.randint(1, 18)),
    [(1, []), (1, [1]), (3, [1, 2]), (100, []), (60, [7, 30])],
)
def brokenStairs(self, n: int, broken: list[int]) -> int:
    bad = set(broken)
    prev, cur = 0, 1
    for step in range(1, n + 1):
        prev, cur = cur, 0 if step in bad else (prev + cur) % 1000000007
    return cur


@problem(
    "medium",
    "dynamic programming",
    """A garden has one bed after another; costs[i][k] is the cost of planting flower k in bed i.
    Neighbouring beds must not have the same flower, and the first and the last bed must not have the same
    flower either when there are at least two beds. Return the smallest total cost, or -1 if it is
    impossible.""",
    """1 <= costs.length <= 50
    1 <= costs[i].length <= 10
    1 <= costs[i][k] <= 1000""",
    [([[1, 5, 9], [1, 6, 2], [1, 7, 3]],), ([[4], [4]],)],
    lambda r: (lambda k: (grid(r, r.randint(1, 5), k, lambda: r.randint(1, 12)),))(
        r.choice([1, 2, 2, 3, 3, 4])
    ),
    [([[7]],), ([[3, 8]],), ([[1, 2], [1, 2]],), ([[1, 2], [3, 4], [5, 6]],)],
)
def gardenRing(self, costs: list[list[int]]) -> int:
    n, k = len(costs), len(costs[0])
    if n == 1:
        return min(costs[0])
    best = math.inf
    for first in range(k):
        row = [costs[0][c] if c == first else math.inf for c in range(k)]
        for cost in costs[1:]:
            row = [cost[c] + min((row[p] for p in range(k) if p != c), default=math.inf) for c in range(k)]
        best = min([best] + [row[c] for c in range(k) if c != first])
    return -1 if best == math.inf else best


def brute_gardenRing(costs):
    n = len(costs)
    good = [
        sum(costs[i][c] for i, c in enumerate(pick))
        for pick in product(range(len(costs[0])), repeat=n)
        if n == 1 or all(pick[i] != pick[i - 1] for i in range(n))
    ]
    return min(good, default=-1)


@problem(
    "medium",
    "dynamic programming",
    """Street lamps in a row give light[i] when they are on. To save wires, between two lamps that are on
    there must be at least gap lamps that are off. Choose the lamps so that the total light is as large as
    possible and return that total. Choosing no lamp gives 0.""",
    """1 <= light.length <= 2000
    -1000 <= light[i] <= 1000
    0 <= gap <= 2000""",
    [([4, 9, 5, 1, 7], 1), ([-3, -2], 0)],
    lambda r: (ints(r, 1, 11, -4, 15), r.randint(0, 4)),
    [([5], 9), ([1, 2, 3], 0), ([1, 2, 3, 4, 5, 6], 2), ([10, 1, 1, 10], 2), ([10, 11, 10], 1)],
)
def lampLight(self, light: list[int], gap: int) -> int:
    best = [0]
    for i, x in enumerate(light):
        best.append(max(best[-1], x + best[max(0, i - gap)]))
    return best[-1]


def brute_lampLight(light, gap):
    n, best = len(light), 0
    for mask in range(1 << n):
        on = [i for i in range(n) if mask >> i & 1]
        if all(b - a > gap for a, b in zip(on, on[1:])):
            best = max(best, sum(light[i] for i in on))
    return best


@problem(
    "medium",
    "dynamic programming",
    """A field is a rectangle of strings. '#' is a wall, '.' is free and a digit is a free cell with that
    many tokens. A collector walks from the top left to the bottom right cell, moving only right or down
    through free cells, and picks up the tokens of every cell it visits, including the first and the last.
    Return the largest number of tokens, or -1 if there is no way.""",
    """1 <= field.length, field[i].length <= 50
    all rows have the same length""",
    [(["1.2", ".#9", "5.."],), ([".#", "#."],)],
    lambda r: (
        lambda c: (["".join(r.choice("..#12359") for _ in range(c)) for _ in range(r.randint(1, 5))],)
    )(r.randint(1, 5)),
    [(["."],), (["#"],), (["9"],), (["12", "34"],), (["1#1", "111", "#11"],)],
)
def tokenWalk(self, field: list[str]) -> int:
    rows, cols = len(field), len(field[0])
    best = [[-1] * cols for _ in range(rows)]
    for i in range(rows):
        for j in range(cols):
            if field[i][j] == "#":
                continue
            came = 0 if i == j == 0 else max(best[i - 1][j] if i else -1, best[i][j - 1] if j else -1)
            if came >= 0:
                best[i][j] = came + (int(field[i][j]) if field[i][j].isdigit() else 0)
    return best[-1][-1]


def brute_tokenWalk(field):
    rows, cols = len(field), len(field[0])

    def walk(i, j):
        if i == rows or j == cols or field[i][j] == "#":
            return -1
        here = int(field[i][j]) if field[i][j].isdigit() else 0
        if (i, j) == (rows - 1, cols - 1):
            return here
        rest = max(walk(i + 1, j), walk(i, j + 1))
        return -1 if rest < 0 else here + rest

    return walk(0, 0)


@problem(
    "medium",
    "dynamic programming",
    """You pay an amount with coins of the given different values; you have as many of each value as you
    like but may use at most pieces coins in total. Return in how many ways the amount can be paid, where
    only the number of coins of each value matters, not their order. The amount 0 can be paid in one way.""",
    """1 <= coins.length <= 20
    1 <= coins[i] <= 100
    0 <= amount <= 500
    0 <= pieces <= 100""",
    [([1, 2, 5], 6, 3), ([3], 4, 9)],
    lambda r: (r.sample(range(1, 9), r.randint(1, 4)), r.randint(0, 16), r.randint(0, 7)),
    [([1], 0, 0), ([1], 5, 4), ([1], 5, 5), ([2, 4, 6], 12, 6), ([1, 5, 10, 25], 100, 20)],
)
def limitedChange(self, coins: list[int], amount: int, pieces: int) -> int:
    ways = [[0] * (pieces + 1) for _ in range(amount + 1)]
    ways[0][0] = 1
    for c in coins:
        for a in range(c, amount + 1):
            for p in range(1, pieces + 1):
                ways[a][p] += ways[a - c][p - 1]
    return sum(ways[amount])


def brute_limitedChange(coins, amount, pieces):
    def count(i, a, p):
        if a == 0:
            return 1
        if i == len(coins) or p == 0:
            return 0
        return sum(count(i + 1, a - k * coins[i], p - k) for k in range(min(p, a // coins[i]) + 1))

    return count(0, amount, pieces)


@problem(
    "medium",
    "dynamic programming",
    """You turn the word a into the word b with three kinds of edits: inserting a letter costs addCost,
    deleting a letter costs dropCost, and replacing one letter by another costs changeCost. Return the
    smallest total cost.""",
    """0 <= a.length, b.length <= 200
    0 <= addCost, dropCost, changeCost <= 100""",
    [("cart", "cast", 2, 2, 3), ("ab", "ba", 1, 1, 9)],
    lambda r: (
        letters(r, 0, 7, "abc"),
        letters(r, 0, 7, "abc"),
        r.randint(0, 5),
        r.randint(0, 5),
        r.randint(0, 8),
    ),
    [
        ("", "", 1, 1, 1),
        ("", "abc", 2, 5, 5),
        ("abc", "", 2, 5, 5),
        ("same", "same", 3, 3, 3),
        ("kitten", "sitting", 1, 1, 1),
    ],
)
def rewriteCost(self, a: str, b: str, addCost: int, dropCost: int, changeCost: int) -> int:
    row = [j * addCost for j in range(len(b) + 1)]
    for i, x in enumerate(a, 1):
        new = [i * dropCost]
        for j, y in enumerate(b, 1):
            new.append(min(new[-1] + addCost, row[j] + dropCost, row[j - 1] + (changeCost if x != y else 0)))
        row = new
    return row[-1]


def brute_rewriteCost(a, b, addCost, dropCost, changeCost):
    @lru_cache(None)
    def go(x, y):
        if not x or not y:
            return len(x) * dropCost + len(y) * addCost
        same = go(x[1:], y[1:]) + (changeCost if x[0] != y[0] else 0)
        return min(same, go(x[1:], y) + dropCost, go(x, y[1:]) + addCost)

    return go(a, b)


@problem(
    "medium",
    "dynamic programming",
    """notes is a melody. Choose a subsequence (keep the order, leave out any notes) in which every note is
    higher than the one before it by at least 1 and at most leap. Return the length of the longest such
    subsequence.""",
    """1 <= notes.length <= 1000
    0 <= notes[i] <= 1000
    1 <= leap <= 1000""",
    [([1, 5, 2, 3, 9], 2), ([7, 7], 3)],
    lambda r: (ints(r, 1, 12, 0, 14), r.randint(1, 5)),
    [([5], 1), ([1, 2, 3, 4], 1), ([1, 3, 5], 1), ([4, 3, 2, 1], 9), ([1, 10, 2, 11, 3], 8)],
)
def melodyClimb(self, notes: list[int], leap: int) -> int:
    best = {}
    for x in notes:
        best[x] = max(best.get(x, 0), 1 + max((best.get(x - d, 0) for d in range(1, leap + 1)), default=0))
    return max(best.values())


def brute_melodyClimb(notes, leap):
    n = len(notes)
    return max(
        len(c)
        for k in range(1, n + 1)
        for c in combinations(notes, k)
        if all(1 <= y - x <= leap for x, y in zip(c, c[1:]))
    )


@problem(
    "medium",
    "dynamic programming",
    """The words of a text, given by their lengths, are set in lines of the given width in their order.
    Words on a line are separated by one blank. A line that leaves s columns free at its end costs s * s,
    but the last line costs nothing. Return the smallest total cost.""",
    """1 <= lengths.length <= 200
    1 <= lengths[i] <= width <= 100""",
    [([3, 2, 2, 5], 6), ([4], 9)],
    lambda r: (lambda w: (ints(r, 1, 9, 1, w), w))(r.randint(3, 10)),
    [([1], 1), ([1, 1, 1], 1), ([5, 5, 5], 5), ([2, 2, 2, 2, 2], 5), ([6, 1, 6, 1], 8)],
)
def lineBreakCost(self, lengths: list[int], width: int) -> int:
    n = len(lengths)
    best = [0] * n + [0]
    for i in range(n - 1, -1, -1):
        best[i] = math.inf
        used = -1
        for j in range(i, n):
            used += 1 + lengths[j]
            if used > width:
                break
            best[i] = min(best[i], best[j + 1] + (0 if j == n - 1 else (width - used) ** 2))
    return best[0]


def brute_lineBreakCost(lengths, width):
    n, best = len(lengths), math.inf
    for cuts in product([0, 1], repeat=n - 1):
        lines, line = [], [lengths[0]]
        for cut, x in zip(cuts, lengths[1:]):
            if cut:
                lines.append(line)
                line = []
            line.append(x)
        lines.append(line)
        free = [width - sum(g) - len(g) + 1 for g in lines]
        if min(free) >= 0:
            best = min(best, sum(f * f for f in free[:-1]))
    return best


@problem(
    "easy",
    "dynamic programming",
    """The triangular numbers are 1, 3, 6, 10, 15, ... (1, 1 + 2, 1 + 2 + 3, ...). Return the smallest
    number of triangular numbers, repetitions allowed, that add up to n.""",
    """1 <= n <= 10000""",
    [(5,), (10,)],
    lambda r: (r.randint(1, 400),),
    [(1,), (2,), (3,), (8,), (9999,), (20,), (5050,)],
)
def triangularPieces(self, n: int) -> int:
    tri = [k * (k + 1) // 2 for k in range(1, 142)]
    best = [0] + [math.inf] * n
    for x in range(1, n + 1):
        best[x] = 1 + min(best[x - t] for t in tri if t <= x)
    return best[n]


def brute_triangularPieces(n):
    tri = {k * (k + 1) // 2 for k in range(1, 142)}
    if n in tri:
        return 1
    if any(n - t in tri for t in tri):
        return 2
    return 3  # Gauss: three triangular numbers (0 allowed) are always enough


@problem(
    "medium",
    "dynamic programming",
    """A rope of length n is cut completely into pieces; every piece must have one of the lengths in
    allowed. Among all ways with the largest possible number of pieces, there may be several; return
    [pieces, ways], where pieces is that largest number and ways is the number of ways to choose how many
    pieces of each length are used. Return [-1, 0] if the rope cannot be cut that way.""",
    """1 <= n <= 500
    1 <= allowed.length <= 20
    1 <= allowed[i] <= 500, all different""",
    [(7, [2, 3, 5]), (5, [4, 3])],
    lambda r: (r.randint(1, 24), r.sample(range(1, 12), r.randint(1, 4))),
    [(1, [1]), (1, [2]), (12, [6, 4]), (30, [4, 5, 6]), (9, [3, 9])],
)
def ropePieces(self, n: int, allowed: list[int]) -> list[int]:
    best = [(0, 1)] + [(-1, 0)] * n
    for c in allowed:
        for x in range(c, n + 1):
            p, w = best[x - c]
            if p < 0:
                continue
            if p + 1 > best[x][0]:
                best[x] = (p + 1, w)
            elif p + 1 == best[x][0]:
                best[x] = (p + 1, best[x][1] + w)
    return list(best[n])


def brute_ropePieces(n, allowed):
    found = Counter()

    def go(i, left, used):
        if left == 0:
            found[used] += 1
        elif i < len(allowed):
            for k in range(left // allowed[i] + 1):
                go(i + 1, left - k * allowed[i], used + k)

    go(0, n, 0)
    return [max(found), found[max(found)]] if found else [-1, 0]


@problem(
    "medium",
    "dynamic programming",
    """A string of decimal digits is cut into one or more numbers, each between 1 and limit and written
    without leading zeros. Return the number of ways to cut the whole string, modulo 1000000007.""",
    """1 <= digits.length <= 1000
    1 <= limit <= 10^6""",
    [("1213", 12), ("100", 50)],
    lambda r: (letters(r, 1, 9, "0112345"), r.choice([5, 9, 12, 31, 99, 250])),
    [("0", 9), ("7", 6), ("1" * 40, 1000000), ("1000000", 1000000), ("909090", 90)],
)
def cutDigits(self, digits: str, limit: int) -> int:
    n = len(digits)
    ways = [0] * n + [1]
    for i in range(n - 1, -1, -1):
        if digits[i] == "0":
            continue
        value = 0
        for j in range(i, min(n, i + 7)):
            value = value * 10 + int(digits[j])
            if value > limit:
                break
            ways[i] += ways[j + 1]
        ways[i] %= 1000000007
    return ways[0]


def brute_cutDigits(digits, limit):
    n, count = len(digits), 0
    if n > 14:
        return None
    for cuts in product([0, 1], repeat=n - 1):
        parts = [digits[0]]
        for cut, c in zip(cuts, digits[1:]):
            if cut:
                parts.append(c)
            else:
                parts[-1] += c
        count += all(p[0] != "0" and int(p) <= limit for p in parts)
    return count


@problem(
    "medium",
    "dynamic programming",
    """Two workers share a list of jobs; job i takes minutes[i]. Every job is done by exactly one worker,
    and the workers start together. Return the earliest time at which both can be finished.""",
    """1 <= minutes.length <= 100
    1 <= minutes[i] <= 100""",
    [([3, 1, 4, 2],), ([9, 1, 1],)],
    lambda r: (ints(r, 1, 10, 1, 20),),
    [([1],), ([5, 5],), ([7, 6, 5, 4, 3],), ([100, 99, 98],)],
)
def twoWorkers(self, minutes: list[int]) -> int:
    total = sum(minutes)
    reach = 1
    for m in minutes:
        reach |= reach << m
    return next(t for t in range((total + 1) // 2, total + 1) if reach >> t & 1)


def brute_twoWorkers(minutes):
    total = sum(minutes)
    return min(max(sum(c), total - sum(c)) for k in range(len(minutes) + 1) for c in combinations(minutes, k))


def wrong_twoWorkers(minutes):
    a = b = 0
    for m in sorted(minutes, reverse=True):
        if a <= b:
            a += m
        else:
            b += m
    return max(a, b)


@problem(
    "medium",
    "dynamic programming",
    """A boat travels down a river past islands 0, 1, ..., n - 1. It starts at island 0 and must end at
    island n - 1. From an island it can sail to any later island at most reach further; stopping at island
    i costs tolls[i], and so do the start and the end. An island with toll -1 is closed: the boat cannot
    stop there. Return the smallest total toll, or -1 if the last island cannot be reached.""",
    """1 <= tolls.length <= 2000
    -1 <= tolls[i] <= 1000
    tolls[0] is not -1
    1 <= reach <= 2000""",
    [([1, 5, 2, 9, 1], 2), ([0, -1, -1, 4], 2)],
    lambda r: (
        [r.randint(0, 9)] + [r.choice([-1, -1, 1, 2, 4, 7]) for _ in range(r.randint(0, 9))],
        r.randint(1, 3),
    ),
    [([7], 1), ([1, -1], 1), ([3, 3, 3, 3], 3), ([0, 9, 9, -1, 1], 2)],
)
def ferryTolls(self, tolls: list[int], reach: int) -> int:
    best = [math.inf] * len(tolls)
    best[0] = tolls[0]
    for i in range(1, len(tolls)):
        if tolls[i] >= 0:
            best[i] = tolls[i] + min(best[max(0, i - reach) : i])
    return -1 if best[-1] == math.inf else best[-1]


@problem(
    "medium",
    "dynamic programming",
    """Return the smallest number of letters that must be deleted from s so that the rest, read in order,
    is the same forwards and backwards and has the given letter exactly in its middle (the rest then has
    odd length). If letter does not occur in s, return -1.""",
    """1 <= s.length <= 200
    s consists of lowercase letters, letter is one lowercase letter""",
    [("abxca", "x"), ("abc", "z")],
    lambda r: (letters(r, 1, 10, "abc"), r.choice("abc")),
    [("a", "a"), ("aaaa", "a"), ("abcdcba", "d"), ("ab", "b"), ("xaxbx", "x")],
)
def centredMirror(self, s: str, letter: str) -> int:
    best = -1
    for m, c in enumerate(s):
        if c != letter:
            continue
        left, right = s[:m][::-1], s[m + 1 :]
        row = [0] * (len(right) + 1)
        for x in left:
            new = [0]
            for j, y in enumerate(right):
                new.append(row[j] + 1 if x == y else max(row[j + 1], new[-1]))
            row = new
        best = max(best, 2 * row[-1] + 1)
    return len(s) - best if best > 0 else -1


def brute_centredMirror(s, letter):
    n = len(s)
    good = [
        n - k for k in range(1, n + 1, 2) for c in combinations(s, k) if c == c[::-1] and c[k // 2] == letter
    ]
    return min(good, default=-1)


@problem(
    "medium",
    "dynamic programming",
    """A frog sits at the left end of a row of n stones numbered 0 to n - 1 and wants to reach stone n - 1.
    Its first jump covers exactly 1 stone distance. After a jump of length d the next jump has length d -
    1, d or d + 1, but at least 1; it never jumps back. Return the smallest number of jumps, or -1 if stone
    n - 1 cannot be hit exactly using only stones that are dry, where wet lists the indices of the wet
    stones.""",
    """1 <= n <= 300
    0 <= wet.length < n
    1 <= wet[i] <= n - 1""",
    [(6, []), (4, [1])],
    lambda r: (lambda n: (n, sorted(r.sample(range(1, n), r.randint(0, (n - 1) // 4)))))(r.randint(2, 20)),
    [(1, []), (2, []), (2, [1]), (5, [2]), (30, []), (100, [])],
)
def frogJumps(self, n: int, wet: list[int]) -> int:
    if n == 1:
        return 0
    bad = set(wet)
    if 1 in bad:
        return -1
    seen, layer, jumps = {(1, 1)}, [(1, 1)], 1
    while layer:
        nxt = []
        for at, d in layer:
            if at == n - 1:
                return jumps
            for e in (d - 1, d, d + 1):
                state = (at + e, e)
                if e >= 1 and at + e < n and at + e not in bad and state not in seen:
                    seen.add(state)
                    nxt.append(state)
        layer, jumps = nxt, jumps + 1
    return -1


# ------------------------------------------------------------------------------------------------- greedy
@problem(
    "medium",
    "greedy",
    """An electric van drives along a straight road from kilometre 0 to kilometre goal. A full battery
    lasts for exactly span km, and the van starts full. stations lists the positions of the charging
    stations; at a station the battery can be filled completely. Return the smallest number of stops that
    are needed, or -1 if the goal cannot be reached.""",
    """1 <= goal <= 10^6
    0 <= stations.length <= 1000
    0 < stations[i] < goal, in no particular order
    1 <= span <= 10^6""",
    [(100, [30, 60, 80], 50), (10, [], 9)],
    lambda r: (lambda g: (g, r.sample(range(1, g), min(g - 1, r.randint(0, 7))), r.randint(3, 14)))(
        r.randint(2, 40)
    ),
    [(5, [], 5), (6, [3], 3), (7, [3], 3), (20, [19, 1, 10], 10), (12, [4, 8, 4], 4)],
)
def chargeStops(self, goal: int, stations: list[int], span: int) -> int:
    stops, charged_at, last = 0, 0, 0
    for s in sorted(stations) + [goal]:
        if s - last > span:
            return -1
        if s - charged_at > span:
            stops += 1
            charged_at = last
        last = s
    return stops


def brute_chargeStops(goal, stations, span):
    for k, _ in enumerate([0] + stations):
        for c in combinations(sorted(stations), k):
            path = [0, *c, goal]
            if all(b - a <= span for a, b in zip(path, path[1:])):
                return k
    return -1


@problem(
    "medium",
    "greedy",
    """A hall gets requests [start, end] for one day. Accepted requests must not overlap, and between the
    end of one and the start of the next at least pause minutes are needed for cleaning. Return the largest
    number of requests that can be accepted.""",
    """0 <= requests.length <= 1000
    0 <= start < end <= 1440
    0 <= pause <= 1440""",
    [([[0, 30], [30, 60], [50, 90]], 0), ([[0, 30], [30, 60], [50, 90]], 20)],
    lambda r: (spans(r, 0, 8, 40, 15), r.randint(0, 8)),
    [([], 5), ([[1, 2]], 1440), ([[0, 10], [1, 2], [3, 4], [5, 6]], 1), ([[0, 5], [5, 10], [10, 15]], 1)],
)
def hallRequests(self, requests: list[list[int]], pause: int) -> int:
    free_from, count = -math.inf, 0
    for start, end in sorted(requests, key=lambda q: q[1]):
        if start >= free_from:
            free_from = end + pause
            count += 1
    return count


def brute_hallRequests(requests, pause):
    for k in range(len(requests), 0, -1):
        for c in combinations(sorted(requests), k):
            if all(b[0] - a[1] >= pause for a, b in zip(c, c[1:])):
                return k
    return 0


@problem(
    "medium",
    "greedy",
    """Renters want flats: wishes[i] is the size that renter i wants, and the renter accepts every flat
    whose size differs from the wish by at most slack. sizes lists the flats. Each renter gets at most one
    flat and each flat at most one renter. Return the largest number of renters that can get a flat.""",
    """0 <= wishes.length, sizes.length <= 5000
    1 <= wishes[i], sizes[i] <= 10^6
    0 <= slack <= 10^6""",
    [([60, 45, 80], [30, 60, 75], 5), ([10], [20], 9)],
    lambda r: (ints(r, 0, 6, 1, 25), ints(r, 0, 6, 1, 25), r.randint(0, 4)),
    [([], [5], 1), ([5, 5, 5], [5, 5], 0), ([1, 2, 3], [2, 3, 4], 1), ([10, 20], [15, 15], 5)],
)
def flatsAssigned(self, wishes: list[int], sizes: list[int], slack: int) -> int:
    wishes, sizes = sorted(wishes), sorted(sizes)
    i = j = count = 0
    while i < len(wishes) and j < len(sizes):
        if sizes[j] < wishes[i] - slack:
            j += 1
        elif sizes[j] > wishes[i] + slack:
            i += 1
        else:
            i, j, count = i + 1, j + 1, count + 1
    return count


def brute_flatsAssigned(wishes, sizes, slack):
    def go(i, free):
        if i == len(wishes):
            return 0
        take = [1 + go(i + 1, free - {j}) for j in free if abs(sizes[j] - wishes[i]) <= slack]
        return max([go(i + 1, free)] + take)

    return go(0, frozenset(range(len(sizes))))


@problem(
    "easy",
    "greedy",
    """Use every digit of the string digits exactly once to form the largest even number without a leading
    zero (the number 0 itself is allowed if digits is "0"). Return it as a string, or an empty string if no
    even number can be formed.""",
    """1 <= digits.length <= 100
    digits consists of decimal digits""",
    [("1234",), ("357",)],
    lambda r: (letters(r, 1, 6, r.choice(["0123456789", "13579", "1357924", "00135"])),),
    [("0",), ("00",), ("10",), ("7",), ("8",), ("2110",), ("000",), ("99998",)],
)
def largestEven(self, digits: str) -> str:
    if digits == "0":
        return "0"
    even = [d for d in digits if d in "02468"]
    if not even:
        return ""
    rest = sorted(digits, reverse=True)
    rest.remove(min(even))
    number = "".join(rest) + min(even)
    return "" if number[0] == "0" else number


def brute_largestEven(digits):
    if len(digits) > 6:
        return None
    good = {"".join(p) for p in permutations(digits)}
    good = [g for g in good if g[-1] in "02468" and (g == "0" or g[0] != "0")]
    return max(good, default="")


@problem(
    "medium",
    "greedy",
    """Trains stop at a station from arrive[i] to leave[i], both minutes included, and need a platform for
    the whole time. A platform that one train leaves at minute t can be used by the next train from minute
    t + 1 on. Return the smallest number of platforms that is enough for all trains.""",
    """0 <= arrive.length == leave.length <= 1000
    0 <= arrive[i] <= leave[i] <= 1440""",
    [([10, 12, 20], [15, 20, 25]), ([], [])],
    lambda r: (lambda s: ([a for a, _ in s], [b for _, b in s]))(spans(r, 0, 8, 25, 9)),
    [([5], [5]), ([1, 2, 3], [1, 2, 3]), ([0, 0, 0], [1440, 10, 5]), ([1, 5], [5, 9]), ([1, 6], [5, 9])],
)
def platformsNeeded(self, arrive: list[int], leave: list[int]) -> int:
    arrive, leave = sorted(arrive), sorted(leave)
    most = j = 0
    for i, t in enumerate(arrive):
        while leave[j] < t:
            j += 1
        most = max(most, i + 1 - j)
    return most


def brute_platformsNeeded(arrive, leave):
    return max((sum(a <= t <= b for a, b in zip(arrive, leave)) for t in arrive), default=0)


def wrong_platformsNeeded(arrive, leave):
    return max((sum(a <= t < b for a, b in zip(arrive, leave)) for t in arrive), default=0)


@problem(
    "medium",
    "greedy",
    """You may exchange two letters of s at most once. Return the string that comes first in alphabetical
    order among all strings that you can get.""",
    """1 <= s.length <= 1000
    s consists of lowercase letters""",
    [("dbca",), ("abc",)],
    lambda r: (letters(r, 1, 9, "abcd"),),
    [("a",), ("ba",), ("aab",), ("abdcc",), ("zazaz",), ("cbaa",)],
)
def oneExchange(self, s: str) -> str:
    target = sorted(s)
    for i, (c, best) in enumerate(zip(s, target)):
        if c != best:
            j = s.rindex(best)  # the last copy: the larger letter lands as far right as possible
            return s[:i] + best + s[i + 1 : j] + c + s[j + 1 :]
    return s


def brute_oneExchange(s):
    out = [s]
    for i, j in combinations(range(len(s)), 2):
        t = list(s)
        t[i], t[j] = t[j], t[i]
        out.append("".join(t))
    return min(out)


@problem(
    "medium",
    "greedy",
    """A gardener trims a row of hedges of the given heights. Only cutting is possible, no growing.
    Afterwards the heights of two neighbouring hedges may differ by at most step. Return the smallest total
    height that has to be cut off.""",
    """1 <= heights.length <= 5000
    0 <= heights[i] <= 10^6
    0 <= step <= 10^6""",
    [([1, 5, 2], 1), ([4, 4], 0)],
    lambda r: (ints(r, 1, 9, 0, 9), r.randint(0, 3)),
    [([7], 0), ([0, 9, 9, 9, 0], 2), ([9, 0, 9], 0), ([1, 2, 3, 4], 1), ([10, 1, 10, 1], 20)],
)
def trimHedges(self, heights: list[int], step: int) -> int:
    h = heights[:]
    for i in range(1, len(h)):
        h[i] = min(h[i], h[i - 1] + step)
    for i in range(len(h) - 2, -1, -1):
        h[i] = min(h[i], h[i + 1] + step)
    return sum(heights) - sum(h)


def brute_trimHedges(heights, step):
    n = len(heights)
    final = [min(heights[j] + step * abs(i - j) for j in range(n)) for i in range(n)]
    return sum(heights) - sum(final)


@problem(
    "medium",
    "greedy",
    """A smith has ingots of the given weights. In one step the smith takes a heaviest ingot of weight w >=
    2 and saws it into two ingots of weights floor(w / 2) and ceil(w / 2). An ingot of weight 1 cannot be
    sawn. After steps steps, or as soon as every ingot has weight 1, the smith stops. Return the weights of
    all ingots in decreasing order.""",
    """1 <= weights.length <= 50
    1 <= weights[i] <= 10^6
    0 <= steps <= 100""",
    [([7, 4], 2), ([1, 1], 5)],
    lambda r: (ints(r, 1, 5, 1, 30), r.randint(0, 6)),
    [([2], 1), ([3], 5), ([10, 10], 2), ([100], 0), ([9, 8, 7], 3)],
)
def sawIngots(self, weights: list[int], steps: int) -> list[int]:
    heap = [-w for w in weights]
    heapify(heap)
    for _ in range(steps):
        if heap[0] == -1:
            break
        w = -heappop(heap)
        heappush(heap, -(w // 2))
        heappush(heap, -(w - w // 2))
    return sorted((-x for x in heap), reverse=True)


@problem(
    "medium",
    "greedy",
    """The array orders lists jobs; each order [deadline, bonus] takes one whole day to do. The days are
    numbered 1, 2, 3, ...; on each day at most one order is done, and an order earns its bonus only if it
    is done on a day that is not after its deadline. Return the largest total bonus.""",
    """0 <= orders.length <= 1000
    1 <= deadline <= 1000
    1 <= bonus <= 10^4""",
    [([[1, 5], [1, 8], [2, 3]],), ([],)],
    lambda r: ([[r.randint(1, 5), r.randint(1, 20)] for _ in range(r.randint(0, 8))],),
    [
        ([[1, 1]],),
        ([[3, 9], [3, 8], [3, 7], [3, 6]],),
        ([[1, 10], [2, 1], [2, 20]],),
        ([[1000, 7], [1000, 7]],),
    ],
)
def orderBonus(self, orders: list[list[int]]) -> int:
    heap = []
    for deadline, bonus in sorted(orders):
        heappush(heap, bonus)
        if len(heap) > deadline:
            heappop(heap)
    return sum(heap)


def brute_orderBonus(orders):
    best = 0
    for k in range(len(orders) + 1):
        for c in combinations(sorted(orders), k):
            if all(deadline > i for i, (deadline, _) in enumerate(c)):
                best = max(best, sum(b for _, b in c))
    return best


@problem(
    "easy",
    "greedy",
    """A market stall sells each lemonade for 3 coins. Customers pay in order with one note of value 3, 6
    or 12, given in notes, and must get exact change from the notes that earlier customers paid; the till
    is empty at first. The seller always gives change with as few notes as possible. Return how many
    customers can be served before the first one who cannot get change (or the number of customers if all
    are served).""",
    """0 <= notes.length <= 1000
    notes[i] is 3, 6 or 12""",
    [([3, 6, 3, 12],), ([3, 3, 12],)],
    lambda r: ([3] + [r.choice([3, 3, 3, 6, 6, 12]) for _ in range(r.randint(0, 12))],),
    [([],), ([6],), ([3, 6, 6],), ([3, 3, 3, 12, 3],), ([3, 6, 3, 6, 3, 12, 12],)],
)
def lemonadeTill(self, notes: list[int]) -> int:
    three = six = 0
    for served, note in enumerate(notes):
        if note == 3:
            three += 1
        elif note == 6:
            if not three:
                return served
            three, six = three - 1, six + 1
        elif six and three:
            six, three = six - 1, three - 1
        elif three >= 3:
            three -= 3
        else:
            return served
    return len(notes)


@problem(
    "medium",
    "greedy",
    """Two jars hold x and y marbles. In one move you take one marble from one jar and two marbles from the
    other jar. Return the largest number of moves that are possible.""",
    """0 <= x, y <= 10^9""",
    [(4, 5), (1, 9)],
    lambda r: (r.randint(0, 40), r.randint(0, 40)),
    [(0, 0), (1, 1), (2, 1), (10**9, 10**9), (7, 100), (3, 3)],
)
def marbleMoves(self, x: int, y: int) -> int:
    return min(x, y, (x + y) // 3)


def brute_marbleMoves(x, y):
    if x + y > 200:
        return None
    best = 0
    for a in range(x + 1):  # a moves take one from x and two from y
        for b in range(y + 1):
            if a + 2 * b <= x and 2 * a + b <= y:
                best = max(best, a + b)
    return best


# ------------------------------------------------------------------------------------------------- graphs
@problem(
    "medium",
    "graphs",
    """A cave has n rooms numbered from 0 and tunnels that can be walked both ways; tunnels[i] = [a, b]
    joins rooms a and b. Start in room start. Return [distance, room], where distance is the largest number
    of tunnels on a shortest way to any room that can be reached, and room is the smallest room number at
    that distance.""",
    """1 <= n <= 1000
    0 <= tunnels.length <= 5000
    0 <= a, b, start < n""",
    [(5, [[0, 1], [1, 2], [0, 3]], 0), (2, [], 1)],
    lambda r: (lambda n: (n, simple_edges(r, n, 0.3), r.randrange(n)))(r.randint(1, 8)),
    [
        (1, [], 0),
        (3, [[0, 0], [0, 1]], 2),
        (4, [[0, 1], [1, 2], [2, 3], [3, 0]], 1),
        (4, [[3, 2], [2, 1]], 3),
    ],
)
def farthestRoom(self, n: int, tunnels: list[list[int]], start: int) -> list[int]:
    near = defaultdict(list)
    for a, b in tunnels:
        near[a].append(b)
        near[b].append(a)
    dist, queue = {start: 0}, deque([start])
    while queue:
        a = queue.popleft()
        for b in near[a]:
            if b not in dist:
                dist[b] = dist[a] + 1
                queue.append(b)
    far = max(dist.values())
    return [far, min(room for room in dist if dist[room] == far)]


def brute_farthestRoom(n, tunnels, start):
    d = [math.inf] * n
    d[start] = 0
    for _ in range(n):
        for a, b in tunnels:
            d[a], d[b] = min(d[a], d[b] + 1), min(d[b], d[a] + 1)
    far = max(x for x in d if x < math.inf)
    return [far, d.index(far)]


@problem(
    "medium",
    "graphs",
    """n people are numbered from 0. knows[i] = [a, b] says that a and b know each other. People who are
    linked directly or through others form a circle; a person who knows nobody is a circle of one. Return
    the sizes of all circles with at least small people, in decreasing order.""",
    """1 <= n <= 1000
    0 <= knows.length <= 5000
    1 <= small <= n""",
    [(5, [[0, 1], [3, 4]], 2), (3, [], 2)],
    lambda r: (lambda n: (n, simple_edges(r, n, 0.2), r.randint(1, 3 if n > 2 else 1)))(r.randint(1, 10)),
    [(1, [], 1), (4, [[0, 1], [1, 2], [2, 3]], 4), (4, [[0, 0]], 1), (6, [[0, 1], [2, 3], [4, 5]], 2)],
)
def circleSizes(self, n: int, knows: list[list[int]], small: int) -> list[int]:
    head = list(range(n))

    def find(a):
        while head[a] != a:
            head[a] = head[head[a]]
            a = head[a]
        return a

    for a, b in knows:
        head[find(a)] = find(b)
    sizes = Counter(find(a) for a in range(n)).values()
    return sorted((s for s in sizes if s >= small), reverse=True)


def brute_circleSizes(n, knows, small):
    groups = [{i} for i in range(n)]
    for a, b in knows:
        ga = next(g for g in groups if a in g)
        gb = next(g for g in groups if b in g)
        if ga is not gb:
            groups.remove(gb)
            ga |= gb
    return sorted((len(g) for g in groups if len(g) >= small), reverse=True)


@problem(
    "medium",
    "graphs",
    """A school wants to split n pupils, numbered from 0, into two buses. quarrels[i] = [a, b] says that a
    and b must not be in the same bus. If it is possible, return the number of different ways to do it,
    where the two buses are distinguishable and a bus may stay empty, modulo 1000000007. If it is
    impossible, return 0.""",
    """1 <= n <= 1000
    0 <= quarrels.length <= 5000
    0 <= a, b < n and a != b""",
    [(3, [[0, 1]]), (3, [[0, 1], [1, 2], [0, 2]])],
    lambda r: (lambda n: (n, simple_edges(r, n, r.choice([0.15, 0.3]))))(r.randint(1, 8)),
    [(1, []), (40, []), (4, [[0, 1], [1, 2], [2, 3], [3, 0]]), (5, [[0, 1], [1, 2], [2, 3], [3, 4], [4, 0]])],
)
def twoBuses(self, n: int, quarrels: list[list[int]]) -> int:
    near = defaultdict(list)
    for a, b in quarrels:
        near[a].append(b)
        near[b].append(a)
    side, ways = {}, 1
    for s in range(n):
        if s in side:
            continue
        ways = ways * 2 % 1000000007
        side[s], stack = 0, [s]
        while stack:
            a = stack.pop()
            for b in near[a]:
                if b not in side:
                    side[b] = 1 - side[a]
                    stack.append(b)
                elif side[b] == side[a]:
                    return 0
    return ways


def brute_twoBuses(n, quarrels):
    if n > 12:
        return None
    return sum(all((m >> a ^ m >> b) & 1 for a, b in quarrels) for m in range(1 << n))


@problem(
    "medium",
    "graphs",
    """Dishes 0 to n - 1 are to be cooked one after another. rules[i] = [a, b] says that dish a must be
    cooked before dish b. Among all allowed orders return the one that is smallest when compared number by
    number from the front, or an empty list if no order is allowed.""",
    """1 <= n <= 1000
    0 <= rules.length <= 5000
    0 <= a, b < n""",
    [(4, [[3, 0], [2, 0]]), (2, [[0, 1], [1, 0]])],
    lambda r: (
        lambda n: (
            n,
            (lambda p: [[p[a], p[b]] for a, b in simple_edges(r, n, 0.3)])(r.sample(range(n), n))
            + ([[0, n - 1]] if r.random() < 0.4 else []),
        )
    )(r.randint(2, 7)),
    [(1, []), (3, []), (3, [[2, 1], [1, 0]]), (1, [[0, 0]]), (4, [[1, 0], [1, 0], [3, 2]])],
)
def cookingOrder(self, n: int, rules: list[list[int]]) -> list[int]:
    after, open_rules = defaultdict(list), [0] * n
    for a, b in rules:
        after[a].append(b)
        open_rules[b] += 1
    heap, out = [i for i in range(n) if not open_rules[i]], []
    while heap:
        a = heappop(heap)
        out.append(a)
        for b in after[a]:
            open_rules[b] -= 1
            if not open_rules[b]:
                heappush(heap, b)
    return out if len(out) == n else []


def brute_cookingOrder(n, rules):
    for p in permutations(range(n)):
        if all(p.index(a) < p.index(b) for a, b in rules):
            return list(p)
    return []


@problem(
    "medium",
    "graphs",
    """Cities 0 to n - 1 are joined by roads that can be used both ways; roads[i] = [a, b, cost]. On the
    trip from city src to city dst you may use one road of your choice for free, once. Return the smallest
    total cost, or -1 if there is no way.""",
    """1 <= n <= 500
    0 <= roads.length <= 2000
    0 <= cost <= 10^6
    0 <= src, dst < n""",
    [(3, [[0, 1, 5], [1, 2, 9], [0, 2, 20]], 0, 2), (2, [], 0, 1)],
    lambda r: (
        lambda n: (
            n,
            [[a, b, r.randint(1, 15)] for a, b in simple_edges(r, n, 0.45)],
            r.randrange(n),
            r.randrange(n),
        )
    )(r.randint(2, 6)),
    [
        (1, [], 0, 0),
        (3, [[0, 1, 4], [1, 2, 4]], 0, 2),
        (4, [[0, 1, 1], [1, 2, 1], [2, 3, 1], [0, 3, 9]], 0, 3),
        (5, [[0, 1, 7], [1, 2, 6], [2, 3, 5], [3, 4, 8], [0, 4, 30]], 0, 4),
    ],
)
def freeRoad(self, n: int, roads: list[list[int]], src: int, dst: int) -> int:
    near = defaultdict(list)
    for a, b, c in roads:
        near[a].append((b, c))
        near[b].append((a, c))
    heap, done = [(0, src, 0)], set()
    while heap:
        cost, a, used = heappop(heap)
        if a == dst:
            return cost
        if (a, used) in done:
            continue
        done.add((a, used))
        for b, c in near[a]:
            heappush(heap, (cost + c, b, used))
            if not used:
                heappush(heap, (cost, b, 1))
    return -1


def brute_freeRoad(n, roads, src, dst):
    best = math.inf
    for free in range(-1, len(roads)):
        d = [math.inf] * n
        d[src] = 0
        for _ in range(n):
            for i, (a, b, c) in enumerate(roads):
                c = 0 if i == free else c
                d[a], d[b] = min(d[a], d[b] + c), min(d[b], d[a] + c)
        best = min(best, d[dst])
    return -1 if best == math.inf else best


@problem(
    "medium",
    "graphs",
    """A maze is a list of strings: '#' is a wall, 'S' the start, 'E' the exit, '.' a free cell and '*' a
    puddle. You move up, down, left or right. Entering a free cell or the exit takes 1 second, entering a
    puddle takes 3 seconds. Return the smallest number of seconds from S to E, or -1 if the exit cannot be
    reached.""",
    """1 <= maze.length, maze[i].length <= 50
    there is exactly one S and exactly one E""",
    [(["S*E", "..."],), (["S#E"],)],
    lambda r: (
        lambda rows, cols: (
            lambda cells: (["".join(cells[i * cols : (i + 1) * cols]) for i in range(rows)],)
        )(r.sample(["S", "E"] + [r.choice("..*#") for _ in range(rows * cols - 2)], rows * cols))
    )(r.randint(1, 4), r.randint(2, 5)),
    [(["SE"],), (["S.#", ".#E"],), (["S***E"],), (["S.*", "##*", "E.."],)],
)
def puddleMaze(self, maze: list[str]) -> int:
    rows, cols = len(maze), len(maze[0])
    start = next((i, j) for i in range(rows) for j in range(cols) if maze[i][j] == "S")
    heap, done = [(0, *start)], set()
    while heap:
        t, i, j = heappop(heap)
        if maze[i][j] == "E":
            return t
        if (i, j) in done:
            continue
        done.add((i, j))
        for x, y in ((i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)):
            if 0 <= x < rows and 0 <= y < cols and maze[x][y] != "#":
                heappush(heap, (t + (3 if maze[x][y] == "*" else 1), x, y))
    return -1


def brute_puddleMaze(maze):
    cells = {(i, j): c for i, row in enumerate(maze) for j, c in enumerate(row) if c != "#"}
    d = {p: 0 if c == "S" else math.inf for p, c in cells.items()}
    for _ in cells:
        for (i, j), c in cells.items():
            for q in ((i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)):
                if q in d:
                    d[i, j] = min(d[i, j], d[q] + (3 if c == "*" else 1))
    out = next(d[p] for p, c in cells.items() if c == "E")
    return -1 if out == math.inf else out


@problem(
    "medium",
    "graphs",
    """On a chart of '0' (water) and '1' (land) a pond is a group of water cells joined up, down, left or
    right that does not contain a cell on the border of the chart. Return the size of the largest pond, or
    0 if there is none.""",
    """1 <= chart.length, chart[i].length <= 100
    all rows have the same length""",
    [(["11111", "10011", "11111", "11011"],), (["00", "00"],)],
    lambda r: (lambda c: (["".join(r.choice("11100") for _ in range(c)) for _ in range(r.randint(3, 6))],))(
        r.randint(3, 7)
    ),
    [
        (["0"],),
        (["111", "101", "111"],),
        (["1111", "1001", "1011", "1111"],),
        (["11111", "10101", "11111"],),
        (["101", "101", "111"],),
        (["111111", "100001", "101101", "111111"],),
    ],
)
def largestPond(self, chart: list[str]) -> int:
    rows, cols = len(chart), len(chart[0])
    seen, best = set(), 0
    for i in range(rows):
        for j in range(cols):
            if chart[i][j] == "1" or (i, j) in seen:
                continue
            stack, size, inner = [(i, j)], 0, True
            seen.add((i, j))
            while stack:
                x, y = stack.pop()
                size += 1
                inner = inner and 0 < x < rows - 1 and 0 < y < cols - 1
                for p, q in ((x + 1, y), (x - 1, y), (x, y + 1), (x, y - 1)):
                    if 0 <= p < rows and 0 <= q < cols and chart[p][q] == "0" and (p, q) not in seen:
                        seen.add((p, q))
                        stack.append((p, q))
            if inner:
                best = max(best, size)
    return best


@problem(
    "medium",
    "simulation",
    """A rumour spreads on a rectangle of people: 1 knows it, 0 does not. In every round, all people who do
    not know it and have at least two neighbours (up, down, left, right) who knew it before the round learn
    it at the same time. Return [rounds, known]: the number of rounds in which somebody learns the rumour,
    and how many people know it in the end.""",
    """1 <= people.length, people[i].length <= 30""",
    [([[1, 0, 1], [0, 0, 0], [1, 0, 1]],), ([[0, 0]],)],
    lambda r: (lambda c: (grid(r, r.randint(1, 5), c, lambda: int(r.random() < 0.4)),))(r.randint(1, 5)),
    [([[1]],), ([[1, 1], [1, 0]],), ([[1, 0, 0], [0, 1, 0], [0, 0, 1]],), ([[0, 1, 0, 1, 0]],)],
)
def rumourRounds(self, people: list[list[int]]) -> list[int]:
    rows, cols = len(people), len(people[0])
    know = {(i, j) for i in range(rows) for j in range(cols) if people[i][j]}
    rounds = 0
    while True:
        new = {
            (i, j)
            for i in range(rows)
            for j in range(cols)
            if (i, j) not in know
            and sum(p in know for p in ((i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1))) >= 2
        }
        if not new:
            return [rounds, len(know)]
        know |= new
        rounds += 1


@problem(
    "easy",
    "trees",
    """A company tree is given by boss: boss[i] is the number of the boss of employee i, and the one
    employee without a boss has -1. The rank of that employee is 0, and everybody else has the rank of the
    boss plus one. Return a list whose k-th entry is the number of employees of rank k.""",
    """1 <= boss.length <= 1000
    boss describes a tree""",
    [([-1, 0, 0, 1],), ([1, 2, -1],)],
    lambda r: (lambda n, p: ([(-1 if p[i] == 0 else p.index(r.randrange(p[i]))) for i in range(n)],))(
        *(lambda n: (n, r.sample(range(n), n)))(r.randint(1, 9))
    ),
    [([-1],), ([-1, 0, 1, 2, 3],), ([4, 4, 4, 4, -1],)],
)
def rankCounts(self, boss: list[int]) -> list[int]:
    staff = defaultdict(list)
    for i, b in enumerate(boss):
        staff[b].append(i)
    out, layer = [], staff[-1]
    while layer:
        out.append(len(layer))
        layer = [s for b in layer for s in staff[b]]
    return out


def brute_rankCounts(boss):
    def rank(i):
        return 0 if boss[i] == -1 else 1 + rank(boss[i])

    count = Counter(rank(i) for i in range(len(boss)))
    return [count[k] for k in range(max(count) + 1)]


@problem(
    "medium",
    "trees",
    """n villages, numbered from 0, are joined by n - 1 paths so that every village can be reached;
    paths[i] = [a, b, length]. Return the largest distance between two villages.""",
    """1 <= n <= 2000
    1 <= length <= 10^4
    the paths form a tree""",
    [(4, [[0, 1, 3], [1, 2, 4], [1, 3, 5]]), (1, [])],
    lambda r: (lambda n: (n, [[r.randrange(i), i, r.randint(1, 9)] for i in range(1, n)]))(r.randint(1, 9)),
    [
        (2, [[1, 0, 7]]),
        (5, [[0, 1, 1], [1, 2, 1], [2, 3, 1], [3, 4, 1]]),
        (4, [[3, 0, 2], [3, 1, 2], [3, 2, 9]]),
    ],
)
def farthestVillages(self, n: int, paths: list[list[int]]) -> int:
    near = defaultdict(list)
    for a, b, c in paths:
        near[a].append((b, c))
        near[b].append((a, c))

    def far(start):
        dist, stack = {start: 0}, [start]
        while stack:
            a = stack.pop()
            for b, c in near[a]:
                if b not in dist:
                    dist[b] = dist[a] + c
                    stack.append(b)
        return max((d, a) for a, d in dist.items())

    return far(far(0)[1])[0]


def brute_farthestVillages(n, paths):
    d = [[0 if i == j else math.inf for j in range(n)] for i in range(n)]
    for a, b, c in paths:
        d[a][b] = d[b][a] = c
    for k in range(n):
        for i in range(n):
            for j in range(n):
                d[i][j] = min(d[i][j], d[i][k] + d[k][j])
    return max(map(max, d))


@problem(
    "medium",
    "graphs",
    """Each of n children throws the ball always to the same child: child i throws to throws[i], which may
    be i itself. The ball starts at some child and is thrown for ever. Return the largest possible number
    of children who catch the ball again and again, that is the length of the longest cycle.""",
    """1 <= throws.length <= 10^4
    0 <= throws[i] < throws.length""",
    [([1, 2, 0, 2],), ([0],)],
    lambda r: (lambda n: ([r.randrange(n) for _ in range(n)],))(r.randint(1, 10)),
    [([1, 0],), ([1, 2, 3, 4, 0],), ([0, 0, 0],), ([1, 0, 3, 4, 2],), ([3, 0, 1, 3],)],
)
def longestCatch(self, throws: list[int]) -> int:
    seen_in, best = {}, 0
    for s in range(len(throws)):
        path = {}
        i = s
        while i not in seen_in:
            seen_in[i] = s
            path[i] = len(path)
            i = throws[i]
        if i in path:
            best = max(best, len(path) - path[i])
    return best


def brute_longestCatch(throws):
    best = 0
    for s in range(len(throws)):
        i, k = throws[s], 1
        while i != s and k <= len(throws):
            i, k = throws[i], k + 1
        if i == s:
            best = max(best, k)
    return best


@problem(
    "medium",
    "graphs",
    """Offices 0 to n - 1 shall be joined into one network. cables[i] = [a, b, cost] is a cable that can be
    bought. Return [cost, spare]: the smallest total cost of cables that join all offices, and the number
    of offered cables that are not needed in a cheapest choice with as few cables as possible. Return [-1,
    -1] if the offices cannot be joined.""",
    """1 <= n <= 500
    0 <= cables.length <= 2000
    1 <= cost <= 10^4""",
    [(3, [[0, 1, 4], [1, 2, 1], [0, 2, 2]]), (2, [])],
    lambda r: (lambda n: (n, [[a, b, r.randint(1, 9)] for a, b in simple_edges(r, n, 0.6)]))(r.randint(1, 6)),
    [
        (1, []),
        (1, [[0, 0, 5]]),
        (3, [[0, 1, 1], [0, 1, 1]]),
        (4, [[0, 1, 2], [2, 3, 2], [1, 2, 9], [0, 3, 8]]),
    ],
)
def officeNetwork(self, n: int, cables: list[list[int]]) -> list[int]:
    head = list(range(n))

    def find(a):
        while head[a] != a:
            head[a] = head[head[a]]
            a = head[a]
        return a

    total = used = 0
    for a, b, cost in sorted(cables, key=lambda c: c[2]):
        if find(a) != find(b):
            head[find(a)] = find(b)
            total += cost
            used += 1
    return [total, len(cables) - used] if used == n - 1 else [-1, -1]


def brute_officeNetwork(n, cables):
    best = None
    for c in combinations(cables, n - 1):
        seen = {0}
        for _ in c:
            for a, b, _cost in c:
                if a in seen or b in seen:
                    seen |= {a, b}
        if len(seen) == n:
            cost = sum(x[2] for x in c)
            best = cost if best is None else min(best, cost)
    return [-1, -1] if best is None else [best, len(cables) - n + 1]


@problem(
    "medium",
    "graphs",
    """A chess knight stands on square [row, col] of an n x n board. It moves as usual: two squares in one
    direction and one square at a right angle. Return the number of squares on which it can stand after
    exactly moves moves, without leaving the board on the way.""",
    """1 <= n <= 30
    0 <= row, col < n
    0 <= moves <= 30""",
    [(3, 0, 0, 1), (8, 3, 3, 2)],
    lambda r: (lambda n: (n, r.randrange(n), r.randrange(n), r.randint(0, 4)))(r.randint(1, 7)),
    [(1, 0, 0, 0), (1, 0, 0, 1), (3, 1, 1, 5), (4, 0, 3, 30), (5, 2, 2, 1)],
)
def knightSquares(self, n: int, row: int, col: int, moves: int) -> int:
    steps = [(a, b) for a in (-2, -1, 1, 2) for b in (-2, -1, 1, 2) if abs(a) != abs(b)]
    here = {(row, col)}
    for _ in range(moves):
        here = {(i + a, j + b) for i, j in here for a, b in steps if 0 <= i + a < n and 0 <= j + b < n}
    return len(here)


@problem(
    "easy",
    "graphs",
    """n lights numbered from 0 are connected by one-way wires; wires[i] = [a, b] means that switching on
    light a also switches on light b. You press the switches listed in pressed. Return the numbers of all
    lights that stay off, in increasing order.""",
    """1 <= n <= 1000
    0 <= wires.length <= 5000
    0 <= pressed.length <= n""",
    [(5, [[0, 1], [1, 2], [4, 3]], [0]), (2, [[0, 1]], [])],
    lambda r: (
        lambda n: (
            n,
            [[r.randrange(n), r.randrange(n)] for _ in range(r.randint(0, n))],
            r.sample(range(n), r.randint(0, min(2, n))),
        )
    )(r.randint(1, 9)),
    [(1, [], []), (1, [], [0]), (3, [[0, 1], [1, 2], [2, 0]], [1]), (4, [[1, 0], [2, 1], [3, 2]], [1])],
)
def darkLights(self, n: int, wires: list[list[int]], pressed: list[int]) -> list[int]:
    out = defaultdict(list)
    for a, b in wires:
        out[a].append(b)
    on, stack = set(pressed), list(pressed)
    while stack:
        for b in out[stack.pop()]:
            if b not in on:
                on.add(b)
                stack.append(b)
    return [i for i in range(n) if i not in on]


def brute_darkLights(n, wires, pressed):
    on = set(pressed)
    for _ in range(n):
        on |= {b for a, b in wires if a in on}
    return sorted(set(range(n)) - on)


# ------------------------------------------------------------------------------------------------- math
@problem(
    "easy",
    "math",
    """Take a positive integer n. In one step n is replaced by n plus the number that results from writing
    the digits of n in reverse order (leading zeros are dropped). Return the number of steps until n is a
    palindrome, or -1 if that takes more than limit steps.""",
    """1 <= n <= 10^6
    0 <= limit <= 50""",
    [(56, 5), (89, 3)],
    lambda r: (r.randint(1, 999), r.choice([1, 2, 3, 6, 20])),
    [(1, 0), (10, 0), (10, 1), (196, 50), (89, 24), (1000000, 2)],
)
def mirrorSteps(self, n: int, limit: int) -> int:
    for steps in range(limit + 1):
        if str(n) == str(n)[::-1]:
            return steps
        n += int(str(n)[::-1])
    return -1


@problem(
    "medium",
    "math",
    """Return the number of zeros at the end of n! (the product 1 * 2 * ... * n) when it is written in the
    given base.""",
    """0 <= n <= 10^9
    2 <= base <= 1000""",
    [(10, 10), (6, 12)],
    lambda r: (r.randint(0, 60), r.randint(2, 36)),
    [(0, 2), (1000000000, 10), (1000000000, 997), (16, 16), (5, 1000), (100, 8)],
)
def factorialZeros(self, n: int, base: int) -> int:
    best, p = math.inf, 2
    while base > 1:
        power = 0
        while base % p == 0:
            base //= p
            power += 1
        if power:
            m, count = n, 0
            while m:
                m //= p
                count += m
            best = min(best, count // power)
        p += 1
    return best


def brute_factorialZeros(n, base):
    if n > 2000:
        return None
    f, zeros = math.factorial(n), 0
    while f % base == 0:
        f //= base
        zeros += 1
    return zeros


@problem(
    "easy",
    "math",
    """A number n >= 1 is compared with the sum of its divisors that are smaller than n. Return, for every
    number from low to high inclusive, the letter 'd' if the sum is smaller than the number, 'p' if it is
    equal and 'a' if it is larger, joined to one string.""",
    """1 <= low <= high <= 10^5
    high - low <= 200""",
    [(5, 7), (12, 12)],
    lambda r: (lambda a: (a, a + r.randint(0, 12)))(r.randint(1, 500)),
    [(1, 1), (6, 6), (28, 30), (496, 496), (99990, 100000)],
)
def divisorLetters(self, low: int, high: int) -> str:
    out = []
    for n in range(low, high + 1):
        total = 1 if n > 1 else 0
        d = 2
        while d * d <= n:
            if n % d == 0:
                total += d + (n // d if d * d != n else 0)
            d += 1
        out.append("d" if total < n else "p" if total == n else "a")
    return "".join(out)


def brute_divisorLetters(low, high):
    if high > 2000:
        return None
    totals = [sum(d for d in range(1, n) if n % d == 0) for n in range(low, high + 1)]
    return "".join("d" if t < n else "p" if t == n else "a" for n, t in enumerate(totals, low))


@problem(
    "medium",
    "math",
    """Among the prime numbers p with low <= p <= high look at neighbouring ones. Return [a, b], the first
    pair of neighbouring primes with the largest difference b - a, or an empty list if there are fewer than
    two primes in the range.""",
    """1 <= low <= high <= 10^5""",
    [(10, 30), (24, 28)],
    lambda r: (lambda a: (a, a + r.randint(0, 80)))(r.randint(1, 2000)),
    [(1, 1), (1, 3), (2, 2), (1, 100), (1300, 1400), (90, 96)],
)
def primeGap(self, low: int, high: int) -> list[int]:
    sieve = bytearray([1]) * (high + 2)
    sieve[0:2] = b"\0\0"
    for p in range(2, math.isqrt(high) + 1):
        if sieve[p]:
            sieve[p * p :: p] = bytes(len(range(p * p, high + 2, p)))
    primes = [p for p in range(low, high + 1) if sieve[p]]
    best = []
    for a, b in zip(primes, primes[1:]):
        if not best or b - a > best[1] - best[0]:
            best = [a, b]
    return best


def brute_primeGap(low, high):
    ps = [p for p in range(max(2, low), high + 1) if all(p % d for d in range(2, int(p**0.5) + 1))]
    pairs = list(zip(ps, ps[1:]))
    return list(max(pairs, key=lambda q: q[1] - q[0])) if pairs else []


@problem(
    "medium",
    "math",
    """Write the fraction p / q as a decimal number. After the decimal point there is a part that does not
    repeat (it may be empty) and then a part that repeats for ever (empty if the number ends). Return [a,
    b]: the lengths of the shortest non-repeating part and of the shortest repeating part.""",
    """1 <= p, q <= 10^4""",
    [(1, 6), (3, 8)],
    lambda r: (r.randint(1, 60), r.randint(1, 120)),
    [(1, 1), (1, 7), (1, 9973), (22, 7), (5, 12), (1, 1024), (10, 100)],
)
def decimalParts(self, p: int, q: int) -> list[int]:
    seen, rem, i = {}, p % q, 0
    while rem and rem not in seen:
        seen[rem] = i
        rem = rem * 10 % q
        i += 1
    return [seen[rem], i - seen[rem]] if rem else [i, 0]


def brute_decimalParts(p, q):
    q //= math.gcd(p, q)
    twos = fives = 0
    while q % 2 == 0:
        q, twos = q // 2, twos + 1
    while q % 5 == 0:
        q, fives = q // 5, fives + 1
    if q == 1:
        return [max(twos, fives), 0]
    k, x = 1, 10 % q
    while x != 1:
        k, x = k + 1, x * 10 % q
    return [max(twos, fives), k]


@problem(
    "medium",
    "math",
    """A king stands on the lower left square of a board with rows rows and cols columns and walks to the
    upper right square. Each move goes one square up, one square right or one square diagonally up and
    right. Return the number of different walks that use at least one diagonal move, modulo 1000000007.""",
    """1 <= rows, cols <= 500""",
    [(2, 2), (3, 1)],
    lambda r: (r.randint(1, 9), r.randint(1, 9)),
    [(1, 1), (1, 500), (2, 3), (100, 100), (4, 4)],
)
def kingWalks(self, rows: int, cols: int) -> int:
    mod = 1000000007
    any_move = [[1] * cols for _ in range(rows)]
    straight = [[1] * cols for _ in range(rows)]
    for i in range(1, rows):
        for j in range(1, cols):
            any_move[i][j] = (any_move[i - 1][j] + any_move[i][j - 1] + any_move[i - 1][j - 1]) % mod
            straight[i][j] = (straight[i - 1][j] + straight[i][j - 1]) % mod
    return (any_move[-1][-1] - straight[-1][-1]) % mod


def brute_kingWalks(rows, cols):
    a, b = rows - 1, cols - 1  # k diagonal moves: choose their places among a + b - k moves
    fact = math.factorial
    return (
        sum(fact(a + b - k) // fact(k) // fact(a - k) // fact(b - k) for k in range(1, min(a, b) + 1)) % MOD
    )


@problem(
    "easy",
    "math",
    """Write the integer n in the given base with the digits 0-9 and then a-z. A negative number gets a
    minus sign in front. Return the text.""",
    """-10^9 <= n <= 10^9
    2 <= base <= 36""",
    [(255, 16), (-10, 2)],
    lambda r: (r.randint(-5000, 5000), r.randint(2, 36)),
    [(0, 7), (1, 2), (-1, 36), (35, 36), (36, 36), (1000000000, 36), (-1000000000, 3)],
)
def writeInBase(self, n: int, base: int) -> str:
    if n == 0:
        return "0"
    out, m = [], abs(n)
    while m:
        m, d = divmod(m, base)
        out.append("0123456789abcdefghijklmnopqrstuvwxyz"[d])
    return ("-" if n < 0 else "") + "".join(reversed(out))


@problem(
    "medium",
    "math",
    """Start with a positive integer n and again and again replace it by the sum of the cubes of its
    digits. Sooner or later the numbers repeat in a cycle. Return the smallest number of that cycle.""",
    """1 <= n <= 10^9""",
    [(3,), (371,)],
    lambda r: (r.randint(1, 3000),),
    [(1,), (133,), (4,), (999999999,), (16,), (136,), (1000000000,), (7,), (55,)],
)
def cubeCycle(self, n: int) -> int:
    seen = []
    while n not in seen:
        seen.append(n)
        n = sum(int(d) ** 3 for d in str(n))
    return min(seen[seen.index(n) :])


@problem(
    "easy",
    "math",
    """Two times of day are written "HH:MM" on a 24-hour clock. Return how many minutes pass from the first
    time until the clock next shows the second time, without counting the minutes of the hours listed in
    pause (a minute counts to the hour that the clock shows when the minute begins). If both times are
    equal, return 0.""",
    """00:00 <= times <= 23:59
    0 <= pause.length <= 24
    pause holds different hours from 0 to 23""",
    [("22:30", "01:15", [23]), ("08:00", "08:00", [])],
    lambda r: (
        tuple(f"{r.randint(0, 23):02d}:{r.randint(0, 59):02d}" for _ in "ab")
        + (r.sample(range(24), r.randint(0, 4)),)
    ),
    [("00:00", "23:59", []), ("23:59", "00:00", []), ("12:01", "12:00", [12]), ("06:15", "06:45", [6])],
)
def minutesUntil(self, first: str, second: str, pause: list[int]) -> int:
    def minute(text):
        return int(text[:2]) * 60 + int(text[3:])

    t, end, count = minute(first), minute(second), 0
    while t != end:
        count += t // 60 not in pause
        t = (t + 1) % 1440
    return count


@problem(
    "medium",
    "math",
    """n people numbered 1 to n sit in a circle. Counting starts with person 1 as number one; every k-th
    person counted leaves, and counting goes on with the next person. Return the numbers of the last two
    people who remain, in the order in which they would leave.""",
    """2 <= n <= 2000
    1 <= k <= 10^6""",
    [(5, 2), (2, 1)],
    lambda r: (r.randint(2, 20), r.randint(1, 9)),
    [(2, 2), (2, 1000000), (7, 7), (41, 3), (10, 1)],
)
def lastTwo(self, n: int, k: int) -> list[int]:
    ring, at, out = list(range(1, n + 1)), 0, []
    while ring:
        at = (at + k - 1) % len(ring)
        out.append(ring.pop(at))
    return out[-2:]


def brute_lastTwo(n, k):
    ring, out = deque(range(1, n + 1)), []
    while ring:
        for _ in range((k - 1) % len(ring)):
            ring.append(ring.popleft())
        out.append(ring.popleft())
    return out[-2:]


@problem(
    "medium",
    "math",
    """points is a list of corners [x, y] of a polygon with integer coordinates, in order around it. Return
    the number of points with integer coordinates that lie on the border of the polygon, corners included.
    The border does not touch or cross itself.""",
    """3 <= points.length <= 1000
    -10^6 <= x, y <= 10^6""",
    [([[0, 0], [4, 0], [0, 3]],), ([[0, 0], [1, 0], [1, 1], [0, 1]],)],
    lambda r: (
        lambda a, b, c, d: (
            ([[a, b], [a + c, b], [a + c, b + d], [a, b + d]],)
            if r.random() < 0.4
            else ([[a, b], [a + c, b + r.randint(0, 3)], [a + r.randint(0, 3), b + d + 4]],)
        )
    )(r.randint(-9, 9), r.randint(-9, 9), r.randint(4, 12), r.randint(1, 9)),
    [
        ([[0, 0], [6, 3], [0, 6]],),
        ([[-1000000, 0], [1000000, 0], [0, 1]],),
        ([[0, 0], [2, 0], [2, 2], [1, 1], [0, 2]],),
    ],
)
def borderPoints(self, points: list[list[int]]) -> int:
    return sum(math.gcd(abs(x - u), abs(y - v)) for (x, y), (u, v) in zip(points, points[1:] + points[:1]))


def brute_borderPoints(points):
    if max(abs(c) for p in points for c in p) > 100:
        return None
    found = set()
    for (x, y), (u, v) in zip(points, points[1:] + points[:1]):
        for a in range(min(x, u), max(x, u) + 1):
            for b in range(min(y, v), max(y, v) + 1):
                if (u - x) * (b - y) == (v - y) * (a - x):
                    found.add((a, b))
    return len(found)


@problem(
    "medium",
    "math",
    """Return the n-th positive integer (counting from 1, in increasing order) that is divisible by exactly
    one of the two different numbers a and b.""",
    """1 <= n <= 10^9
    2 <= a, b <= 10^4
    neither of a and b divides the other""",
    [(4, 2, 3), (1, 6, 4)],
    lambda r: (lambda p: (r.randint(1, 40), *p))(
        r.choice([(2, 3), (4, 6), (6, 4), (5, 7), (9, 12), (10, 4), (8, 3)])
    ),
    [(1, 2, 3), (1000000000, 9999, 10000), (7, 6, 10), (100, 2, 9)],
)
def exactlyOneDivides(self, n: int, a: int, b: int) -> int:
    both = a * b // math.gcd(a, b)
    low, high = 1, n * min(a, b) * 2 + both
    while low < high:
        mid = (low + high) // 2
        if mid // a + mid // b - 2 * (mid // both) >= n:
            high = mid
        else:
            low = mid + 1
    return low


def brute_exactlyOneDivides(n, a, b):
    if n > 1000:
        return None
    x = 0
    while n:
        x += 1
        n -= (x % a == 0) != (x % b == 0)
    return x


@problem(
    "easy",
    "math",
    """A number is called stepped if every digit differs from the digit before it by exactly 1, such as 7,
    98 or 3234. Return how many stepped numbers lie between low and high inclusive.""",
    """1 <= low <= high <= 10^6""",
    [(8, 23), (44, 44)],
    lambda r: tuple(sorted(r.randint(1, 3000) for _ in "ab")),
    [(1, 9), (10, 10), (1, 1000000), (11, 11), (98, 101)],
)
def steppedNumbers(self, low: int, high: int) -> int:
    queue, count = deque(range(1, 10)), 0
    while queue:
        x = queue.popleft()
        if x > high:
            continue
        count += x >= low
        for d in (x % 10 - 1, x % 10 + 1):
            if 0 <= d <= 9:
                queue.append(x * 10 + d)
    return count


def brute_steppedNumbers(low, high):
    if high > 20000:
        return None
    return sum(
        all(abs(int(a) - int(b)) == 1 for a, b in zip(str(x), str(x)[1:])) for x in range(low, high + 1)
    )


# ------------------------------------------------------------------------------------------------- bits
@problem(
    "medium",
    "bits",
    """Return the bitwise exclusive or of all odd numbers x with low <= x <= high, or 0 if there is no odd
    number in the range.""",
    """0 <= low <= high <= 10^15""",
    [(2, 8), (4, 4)],
    lambda r: (lambda a: (a, a + r.randint(0, 70)))(r.randint(0, 200)),
    [(0, 0), (1, 1), (0, 1000000000000000), (999999999999999, 1000000000000000), (7, 10)],
)
def oddXor(self, low: int, high: int) -> int:
    def upto(n):  # exclusive or of the odd numbers 1, 3, ..., up to n: 2 * xor(0..m-1) plus the lowest bits
        m = (n + 1) // 2
        k = m - 1
        halves = [k, 1, k + 1, 0][k % 4] if m else 0
        return 2 * halves + m % 2

    return upto(high) ^ upto(low - 1)


def brute_oddXor(low, high):
    if high - low > 10000:
        return None
    out = 0
    for x in range(low, high + 1):
        out ^= x if x % 2 else 0
    return out


@problem(
    "easy",
    "bits",
    """Write the non-negative integer n in binary without leading zeros. Return the number of maximal
    groups of consecutive ones that contain at least k ones.""",
    """0 <= n <= 10^15
    1 <= k <= 50""",
    [(221, 2), (8, 2)],
    lambda r: (r.randrange(1 << r.randint(1, 16)), r.randint(1, 3)),
    [(0, 1), (1, 1), (1023, 10), (1023, 11), (0b1010101, 1), (999999999999999, 3)],
)
def onesGroups(self, n: int, k: int) -> int:
    return sum(len(g) >= k for g in bin(n)[2:].split("0"))


def brute_onesGroups(n, k):
    count = run = 0
    while n or run:
        if n & 1:
            run += 1
        else:
            count += run >= k
            run = 0
        n >>= 1
    return count


@problem(
    "easy",
    "bits",
    """A register has width bits and holds the value n. Rotate it to the left by k places: bits that leave
    at the high end come back at the low end. Return the largest value that the register shows at any
    moment, when it is rotated by one place k times; the starting value counts too.""",
    """1 <= width <= 60
    0 <= n < 2^width
    0 <= k <= 10^6""",
    [(5, 4, 2), (9, 4, 0)],
    lambda r: (lambda w: (r.randrange(1 << w), w, r.randint(0, 9)))(r.randint(1, 10)),
    [(0, 1, 1000000), (1, 1, 5), (1, 8, 7), (1, 8, 6), (129, 8, 1), (3, 60, 100)],
)
def registerPeak(self, n: int, width: int, k: int) -> int:
    best, full = n, (1 << width) - 1
    for _ in range(min(k, width)):
        n = (n << 1 & full) | n >> (width - 1)
        best = max(best, n)
    return best


def brute_registerPeak(n, width, k):
    s = format(n, f"0{width}b")
    return max(int(s[i % width :] + s[: i % width], 2) for i in range(min(k, 2 * width) + 1))


@problem(
    "medium",
    "bits",
    """Return the number of ways to choose some of the elements of nums (possibly none; equal elements at
    different positions are different) so that the bitwise exclusive or of the chosen elements is target.
    Choosing none gives 0.""",
    """1 <= nums.length <= 40
    0 <= nums[i], target <= 1000""",
    [([1, 2, 3], 3), ([4], 1)],
    lambda r: (ints(r, 1, 9, 0, 15), r.randint(0, 15)),
    [([0], 0), ([5], 5), ([1] * 30, 1), (list(range(1, 33)), 7), ([2, 4, 8], 1)],
)
def xorChoices(self, nums: list[int], target: int) -> int:
    ways = {0: 1}
    for x in nums:
        new = dict(ways)
        for v, w in ways.items():
            new[v ^ x] = new.get(v ^ x, 0) + w
        ways = new
    return ways.get(target, 0)


def brute_xorChoices(nums, target):
    basis, t = [], target  # linear algebra over two elements: 2^(n - rank) ways if target is in the span
    for x in nums:
        for b in basis:
            x = min(x, x ^ b)
        if x:
            basis.append(x)
            basis.sort(reverse=True)
    for b in basis:
        t = min(t, t ^ b)
    return 0 if t else 1 << (len(nums) - len(basis))


@problem(
    "medium",
    "bits",
    """The reflected list of level 1 is ["0", "1"]. The list of level w + 1 is the list of level w with "0"
    put in front of every entry, followed by the list of level w in reverse order with "1" put in front of
    every entry. Given a string code of zeros and ones, return the position (from 0) at which it stands in
    the list of level code.length.""",
    """1 <= code.length <= 50""",
    [("110",), ("0",)],
    lambda r: (letters(r, 1, 8, "01"),),
    [("1",), ("00000",), ("10000",), ("1" * 50,), ("01" * 20,)],
)
def reflectedPosition(self, code: str) -> int:
    position = bit = 0
    for c in code:
        bit ^= int(c)
        position = position * 2 + bit
    return position


def brute_reflectedPosition(code):
    if len(code) > 10:
        return None
    codes = ["0", "1"]
    while len(codes[0]) < len(code):
        codes = ["0" + c for c in codes] + ["1" + c for c in codes[::-1]]
    return codes.index(code)


@problem(
    "medium",
    "bits",
    """A team needs the skills 0 to k - 1. Candidate i has the skills listed in skills[i]. Return the
    smallest number of candidates who together have all skills, or -1 if that is impossible.""",
    """1 <= k <= 10
    0 <= skills.length <= 50
    0 <= skills[i][j] < k""",
    [(3, [[0], [1, 2], [0, 1]]), (2, [[0], [0]])],
    lambda r: (lambda k: (k, [r.sample(range(k), r.randint(0, min(k, 3))) for _ in range(r.randint(1, 7))]))(
        r.randint(1, 5)
    ),
    [(1, []), (1, [[0]]), (4, [[0, 1], [1, 2], [2, 3], [3, 0]]), (3, [[], [0, 1, 2], []])],
)
def smallestTeam(self, k: int, skills: list[list[int]]) -> int:
    full, best = (1 << k) - 1, {0: 0}
    for have in skills:
        mask = 0
        for s in have:
            mask |= 1 << s
        for m, size in list(best.items()):
            if size + 1 < best.get(m | mask, math.inf):
                best[m | mask] = size + 1
    return best.get(full, -1)


def brute_smallestTeam(k, skills):
    for size in range(len(skills) + 1):
        for c in combinations(skills, size):
            if len(set().union(*c)) == k:
                return size
    return -1


@problem(
    "easy",
    "bits",
    """Return the number of index pairs i < j for which nums[i] and nums[j], written in binary, differ in
    exactly one bit.""",
    """1 <= nums.length <= 1000
    0 <= nums[i] <= 10^6""",
    [([1, 3, 2, 7],), ([5, 5],)],
    lambda r: (ints(r, 1, 10, 0, 15),),
    [([0],), ([0, 1, 2, 4, 8],), ([0, 1, 0, 1],), ([1048575 - 48576, 0],), (list(range(16)),)],
)
def oneBitPairs(self, nums: list[int]) -> int:
    seen, count = Counter(), 0
    for x in nums:
        count += sum(seen[x ^ 1 << b] for b in range(20))
        seen[x] += 1
    return count


def brute_oneBitPairs(nums):
    return sum(bin(x ^ y).count("1") == 1 for x, y in combinations(nums, 2))


# ------------------------------------------------------------------------------------------------- intervals
@problem(
    "medium",
    "intervals",
    """A doctor works from minute begin to minute finish. busy lists appointments [start, end); they may
    overlap, stand in any order and reach outside the working time. Return all maximal free intervals
    [start, end] inside the working time that last at least length minutes, in increasing order.""",
    """0 <= begin < finish <= 1440
    0 <= busy.length <= 200
    0 <= start < end <= 1440
    1 <= length <= 1440""",
    [([[10, 20], [15, 30], [50, 55]], 0, 60, 10), ([], 5, 10, 6)],
    lambda r: (spans(r, 0, 6, 45, 9), r.randint(0, 12), r.randint(30, 55), r.randint(1, 9)),
    [
        ([], 0, 1440, 1440),
        ([[0, 60]], 0, 60, 1),
        ([[0, 5], [55, 60]], 5, 55, 50),
        ([[10, 20], [20, 30]], 10, 40, 5),
    ],
)
def freeSlots(self, busy: list[list[int]], begin: int, finish: int, length: int) -> list[list[int]]:
    out, now = [], begin
    for start, end in sorted(busy) + [[finish, finish]]:
        start, end = min(start, finish), min(end, finish)
        if start - now >= length:
            out.append([now, start])
        now = max(now, end)
    return out


def brute_freeSlots(busy, begin, finish, length):
    free = [all(not s <= t < e for s, e in busy) for t in range(begin, finish)] + [False]
    out, start = [], None
    for t, f in enumerate(free, begin):
        if f and start is None:
            start = t
        if not f and start is not None:
            if t - start >= length:
                out.append([start, t])
            start = None
    return out


@problem(
    "medium",
    "intervals",
    """Recordings are given as [start, end] in any order. Two recordings belong to one session if the pause
    between the end of one and the start of the other is at most pause, or if they overlap; sessions grow
    as long as such recordings can be added. Return for each session [start, end, count]: its first start,
    its last end and the number of its recordings, in increasing order of start.""",
    """0 <= recordings.length <= 1000
    0 <= start <= end <= 10^6
    0 <= pause <= 10^6""",
    [([[0, 5], [7, 9], [20, 30], [22, 23]], 2), ([], 3)],
    lambda r: (spans(r, 0, 8, 60, 9), r.randint(0, 6)),
    [([[1, 1]], 0), ([[5, 6], [1, 2]], 3), ([[5, 6], [1, 2]], 2), ([[0, 100], [10, 20], [90, 95]], 0)],
)
def sessions(self, recordings: list[list[int]], pause: int) -> list[list[int]]:
    out = []
    for start, end in sorted(recordings):
        if out and start - out[-1][1] <= pause:
            out[-1][1] = max(out[-1][1], end)
            out[-1][2] += 1
        else:
            out.append([start, end, 1])
    return out


def brute_sessions(recordings, pause):
    groups = [[list(x)] for x in recordings]
    done = False
    while not done:
        done = True
        for a, b in combinations(groups, 2):
            if any(max(x[0], y[0]) - min(x[1], y[1]) <= pause for x in a for y in b):
                groups.remove(b)
                a += b
                done = False
                break
    return sorted([min(x[0] for x in g), max(x[1] for x in g), len(g)] for g in groups)


@problem(
    "medium",
    "intervals",
    """Ships are in the harbour from day arrive[i] to day depart[i], both included. Return [day, ships]:
    the largest number of ships that are in the harbour on one day, and the first day on which that
    happens.""",
    """1 <= arrive.length == depart.length <= 5000
    0 <= arrive[i] <= depart[i] <= 10^9""",
    [([1, 3, 5], [4, 6, 5]), ([2], [2])],
    lambda r: (lambda s: ([a for a, _ in s], [b for _, b in s]))(spans(r, 1, 8, 25, 9)),
    [([0, 10], [5, 15]), ([1, 2], [2, 3]), ([0, 0, 0], [1, 2, 3]), ([1000000000], [1000000000])],
)
def fullestDay(self, arrive: list[int], depart: list[int]) -> list[int]:
    change = Counter(arrive)
    for d in depart:
        change[d + 1] -= 1
    best, here = [0, 0], 0
    for day in sorted(change):
        here += change[day]
        if here > best[1]:
            best = [day, here]
    return best


def brute_fullestDay(arrive, depart):
    count = {d: sum(a <= d <= b for a, b in zip(arrive, depart)) for d in arrive}
    most = max(count.values())
    return [min(d for d in count if count[d] == most), most]


@problem(
    "easy",
    "intervals",
    """sections is a list of road sections [start, end] that do not overlap and stand in increasing order.
    The part from cutStart to cutEnd is closed. Return what is left of the sections in increasing order;
    sections of length 0 are left out.""",
    """0 <= sections.length <= 1000
    0 <= start < end <= 10^6
    0 <= cutStart <= cutEnd <= 10^6""",
    [([[0, 5], [8, 12]], 3, 9), ([[1, 4]], 1, 4)],
    lambda r: (lambda p: ([list(x) for x in zip(p[::2], p[1::2])], *sorted(r.randint(0, 30) for _ in "ab")))(
        sorted(r.sample(range(30), 2 * r.randint(0, 4)))
    ),
    [([], 0, 9), ([[0, 10]], 5, 5), ([[0, 10]], 3, 6), ([[0, 1], [1, 2]], 0, 1), ([[5, 9]], 0, 5)],
)
def closeRoad(self, sections: list[list[int]], cutStart: int, cutEnd: int) -> list[list[int]]:
    out = []
    for start, end in sections:
        if cutStart == cutEnd:
            out.append([start, end])
            continue
        for a, b in ((start, min(end, cutStart)), (max(start, cutEnd), end)):
            if a < b:
                out.append([a, b])
    return out


def brute_closeRoad(sections, cutStart, cutEnd):
    out = []
    for start, end in sections:
        left = [t for t in range(start, end) if not cutStart <= t < cutEnd]
        for t in left:
            if out and out[-1][1] == t and t != start:
                out[-1][1] = t + 1
            else:
                out.append([t, t + 1])
    return out


@problem(
    "medium",
    "intervals",
    """Painters paint a fence of integer positions; painter i paints the stretch from left[i] to right[i]
    (real positions, left[i] < right[i]). Return the total length of the parts of the fence that are
    painted by exactly one painter.""",
    """0 <= left.length == right.length <= 5000
    0 <= left[i] < right[i] <= 10^9""",
    [([0, 3], [5, 8]), ([], [])],
    lambda r: (lambda s: ([a for a, _ in s], [b for _, b in s]))(spans(r, 0, 7, 25, 9)),
    [([1], [4]), ([1, 1], [4, 4]), ([0, 2, 4], [2, 4, 6]), ([0, 1, 2], [10, 9, 8]), ([0], [1000000000])],
)
def paintedOnce(self, left: list[int], right: list[int]) -> int:
    change = Counter(left)
    change.subtract(Counter(right))
    total = depth = last = 0
    for x in sorted(change):
        if depth == 1:
            total += x - last
        depth += change[x]
        last = x
    return total


def brute_paintedOnce(left, right):
    if max(right, default=0) > 1000:
        return None
    count = Counter(t for a, b in zip(left, right) for t in range(a, b))
    return sum(c == 1 for c in count.values())


@problem(
    "easy",
    "intervals",
    """Friends are free during the intervals free[i] = [start, end], both ends included. Return the longest
    interval [start, end] in which all of them are free, or an empty list if there is no common moment. If
    a friend's interval is a single moment, start equals end.""",
    """1 <= free.length <= 1000
    0 <= start <= end <= 10^6""",
    [([[1, 8], [3, 9], [0, 5]],), ([[1, 2], [3, 4]],)],
    lambda r: (
        ([[r.randint(0, 9), r.randint(5, 16)] for _ in range(r.randint(1, 4))],)
        if r.random() < 0.7
        else (spans(r, 1, 3, 12, 6),)
    ),
    [([[4, 4]],), ([[1, 3], [3, 5]],), ([[0, 9], [2, 2], [1, 3]],), ([[0, 1], [0, 9], [2, 3]],)],
)
def commonFree(self, free: list[list[int]]) -> list[int]:
    start, end = max(f[0] for f in free), min(f[1] for f in free)
    return [start, end] if start <= end else []


# ------------------------------------------------------------------------------------------------- matrices
@problem(
    "medium",
    "matrices",
    """Turn the outermost ring of the rectangle board clockwise by k places: every number of the ring moves
    to the next place of the ring k times. The inside stays as it is. The board has at least two rows and
    two columns. Return the new board.""",
    """2 <= board.length, board[i].length <= 50
    0 <= k <= 10^9""",
    [([[1, 2, 3], [4, 5, 6], [7, 8, 9]], 1), ([[1, 2], [3, 4]], 4)],
    lambda r: (lambda c: (grid(r, r.randint(2, 4), c, lambda: r.randint(0, 9)), r.randint(0, 9)))(
        r.randint(2, 4)
    ),
    [([[1, 2], [3, 4]], 1000000000), ([[1, 2], [3, 4], [5, 6]], 2), ([[1, 2, 3, 4], [5, 6, 7, 8]], 3)],
)
def turnRing(self, board: list[list[int]], k: int) -> list[list[int]]:
    rows, cols = len(board), len(board[0])
    ring = [(0, j) for j in range(cols - 1)] + [(i, cols - 1) for i in range(rows - 1)]
    ring += [(rows - 1, j) for j in range(cols - 1, 0, -1)] + [(i, 0) for i in range(rows - 1, 0, -1)]
    out = [row[:] for row in board]
    for t, (i, j) in enumerate(ring):
        a, b = ring[(t + k) % len(ring)]
        out[a][b] = board[i][j]
    return out


@problem(
    "easy",
    "matrices",
    """Cells of a table whose row number plus column number is the same form a rising diagonal. Return the
    sums of all rising diagonals, starting with the diagonal of the top left cell.""",
    """1 <= table.length, table[i].length <= 100
    -1000 <= table[i][j] <= 1000""",
    [([[1, 2, 3], [4, 5, 6]],), ([[7]],)],
    lambda r: (lambda c: (grid(r, r.randint(1, 4), c, lambda: r.randint(-9, 9)),))(r.randint(1, 4)),
    [([[1, 2, 3]],), ([[1], [2], [3]],), ([[0, 0], [0, 0]],), ([[5, -5], [5, -5]],)],
)
def risingDiagonals(self, table: list[list[int]]) -> list[int]:
    out = [0] * (len(table) + len(table[0]) - 1)
    for i, row in enumerate(table):
        for j, x in enumerate(row):
            out[i + j] += x
    return out


@problem(
    "easy",
    "matrices",
    """A cell of a table is a pass if its value is strictly the smallest of its row (no other cell of the
    row is as small) and strictly the largest of its column. A row or column with a single cell satisfies
    the condition for that cell. Return the positions [row, column] of all passes in increasing order.""",
    """1 <= table.length, table[i].length <= 50
    -1000 <= table[i][j] <= 1000""",
    [([[5, 3], [4, 1]],), ([[1, 1]],)],
    lambda r: (lambda c: (grid(r, r.randint(1, 3), c, lambda: r.randint(0, 6)),))(r.randint(1, 3)),
    [([[9]],), ([[1, 2], [2, 1]],), ([[3, 4, 5], [2, 6, 7], [1, 8, 9]],), ([[2], [2]],)],
)
def mountainPasses(self, table: list[list[int]]) -> list[list[int]]:
    columns = list(zip(*table))
    return [
        [i, j]
        for i, row in enumerate(table)
        for j, x in enumerate(row)
        if x == min(row) and row.count(x) == 1 and x == max(columns[j]) and columns[j].count(x) == 1
    ]


@problem(
    "medium",
    "matrices",
    """values is a rectangle of non-negative integers. Return the side length of the largest square of
    cells whose values add up to at most limit, or 0 if even every single cell is above limit.""",
    """1 <= values.length, values[i].length <= 100
    0 <= values[i][j] <= 10^4
    0 <= limit <= 10^6""",
    [([[1, 1, 5], [1, 1, 5], [5, 5, 5]], 4), ([[9]], 3)],
    lambda r: (lambda c: (grid(r, r.randint(1, 5), c, lambda: r.randint(0, 6)), r.randint(0, 30)))(
        r.randint(1, 5)
    ),
    [([[0]], 0), ([[1, 2, 3]], 100), ([[1, 1], [1, 1]], 3), ([[1, 1], [1, 1]], 4)],
)
def cheapSquare(self, values: list[list[int]], limit: int) -> int:
    rows, cols = len(values), len(values[0])
    total = [[0] * (cols + 1) for _ in range(rows + 1)]
    side = 0
    for i in range(1, rows + 1):
        for j in range(1, cols + 1):
            total[i][j] = values[i - 1][j - 1] + total[i - 1][j] + total[i][j - 1] - total[i - 1][j - 1]
            k = side + 1
            if k <= i and k <= j:
                s = total[i][j] - total[i - k][j] - total[i][j - k] + total[i - k][j - k]
                side = k if s <= limit else side
    return side


def brute_cheapSquare(values, limit):
    rows, cols = len(values), len(values[0])
    sides = [
        k
        for k in range(1, min(rows, cols) + 1)
        for i in range(rows - k + 1)
        for j in range(cols - k + 1)
        if sum(sum(row[j : j + k]) for row in values[i : i + k]) <= limit
    ]
    return max(sides, default=0)


@problem(
    "easy",
    "matrices",
    """Choose one row and one column of the table. The cross of the two is worth the sum of all numbers in
    the row plus the sum of all numbers in the column, where the cell in both is counted once. Return the
    largest worth of a cross.""",
    """1 <= table.length, table[i].length <= 100
    -1000 <= table[i][j] <= 1000""",
    [([[1, 2], [3, 4]],), ([[-5]],)],
    lambda r: (lambda c: (grid(r, r.randint(1, 4), c, lambda: r.randint(-9, 9)),))(r.randint(1, 4)),
    [([[1, 2, 3]],), ([[1], [2]],), ([[-1, -1], [-1, -1]],), ([[9, -9, 9], [-9, 9, -9]],)],
)
def bestCross(self, table: list[list[int]]) -> int:
    rows, cols = [sum(r) for r in table], [sum(c) for c in zip(*table)]
    return max(rows[i] + cols[j] - x for i, r in enumerate(table) for j, x in enumerate(r))


def wrong_bestCross(table):
    return max(map(sum, table)) + max(map(sum, zip(*table)))


@problem(
    "medium",
    "matrices",
    """A hall has rows of seats; each row is a string of '#' (taken) and '.' (empty). Every evening all
    seats change at the same time: an empty seat becomes taken if none of its eight neighbours is taken, a
    taken seat becomes empty if four or more of its neighbours are taken, and all other seats stay as they
    are. Return the hall after the given number of evenings.""",
    """1 <= hall.length, hall[i].length <= 30
    0 <= evenings <= 50""",
    [(["..", ".."], 1), (["###", "###", "###"], 1)],
    lambda r: (
        lambda c: (
            ["".join(r.choice("..#") for _ in range(c)) for _ in range(r.randint(1, 4))],
            r.randint(0, 4),
        )
    )(r.randint(1, 5)),
    [(["."], 3), (["#"], 1), (["....", "....", "...."], 5), (["#.#.#"], 2)],
)
def hallSeats(self, hall: list[str], evenings: int) -> list[str]:
    rows, cols = len(hall), len(hall[0])
    for _ in range(evenings):
        new = []
        for i in range(rows):
            line = ""
            for j in range(cols):
                near = sum(
                    hall[x][y] == "#"
                    for x in range(max(0, i - 1), min(rows, i + 2))
                    for y in range(max(0, j - 1), min(cols, j + 2))
                    if (x, y) != (i, j)
                )
                if hall[i][j] == ".":
                    line += "#" if near == 0 else "."
                else:
                    line += "." if near >= 4 else "#"
            new.append(line)
        hall = new
    return hall


@problem(
    "easy",
    "matrices",
    """Read a table like a ploughed field: the first row from left to right, the second from right to left,
    the third from left to right again, and so on. Return every k-th number read: the k-th, the 2k-th, the
    3k-th and so on.""",
    """1 <= table.length, table[i].length <= 100
    1 <= k <= 10000""",
    [([[1, 2, 3], [4, 5, 6]], 2), ([[7]], 3)],
    lambda r: (lambda c: (grid(r, r.randint(1, 4), c, lambda: r.randint(0, 30)), r.randint(1, 4)))(
        r.randint(1, 4)
    ),
    [([[1, 2], [3, 4], [5, 6]], 1), ([[1], [2], [3], [4]], 2), ([[1, 2, 3, 4]], 4)],
)
def ploughRead(self, table: list[list[int]], k: int) -> list[int]:
    out = []
    for i, row in enumerate(table):
        out += row if i % 2 == 0 else row[::-1]
    return out[k - 1 :: k]


@problem(
    "medium",
    "matrices",
    """A painting is a list of strings; every character is a colour. Cells of one colour that are joined
    up, down, left or right form a patch. Return [size, patches]: the size of the largest patch and the
    number of patches of that size.""",
    """1 <= painting.length, painting[i].length <= 100
    painting consists of lowercase letters""",
    [(["aab", "abb"],), (["xyx"],)],
    lambda r: (lambda c: (["".join(r.choice("ab") for _ in range(c)) for _ in range(r.randint(1, 4))],))(
        r.randint(1, 5)
    ),
    [(["a"],), (["aaa", "aaa"],), (["aba", "bab", "aba"],), (["aab", "bba"],)],
)
def largestPatch(self, painting: list[str]) -> list[int]:
    cells = {(i, j): c for i, row in enumerate(painting) for j, c in enumerate(row)}
    sizes, seen = Counter(), set()
    for p in cells:
        if p in seen:
            continue
        seen.add(p)
        stack, size = [p], 0
        while stack:
            i, j = stack.pop()
            size += 1
            for q in ((i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)):
                if q not in seen and cells.get(q) == cells[i, j]:
                    seen.add(q)
                    stack.append(q)
        sizes[size] += 1
    return [max(sizes), sizes[max(sizes)]]


@problem(
    "medium",
    "matrices",
    """rain[i][j] is the amount of rain on field (i, j). Every entry [r1, c1, r2, c2] of questions asks for
    the fields with row number from r1 to r2 and column number from c1 to c2, all included. Return for
    every question the total rain on all fields that are NOT asked for.""",
    """1 <= rain.length, rain[i].length <= 200
    0 <= rain[i][j] <= 1000
    0 <= questions.length <= 10^4
    r1 <= r2 and c1 <= c2 are valid numbers""",
    [([[1, 2], [3, 4]], [[0, 0, 0, 1], [1, 1, 1, 1]]), ([[5]], [])],
    lambda r: (
        lambda rows, cols: (
            grid(r, rows, cols, lambda: r.randint(0, 9)),
            [
                (lambda a, b: [a[0], b[0], a[1], b[1]])(
                    sorted(r.randrange(rows) for _ in "ab"), sorted(r.randrange(cols) for _ in "ab")
                )
                for _ in range(r.randint(1, 3))
            ],
        )
    )(r.randint(1, 4), r.randint(1, 4)),
    [([[7]], [[0, 0, 0, 0]]), ([[1, 1, 1]], [[0, 1, 0, 1], [0, 0, 0, 2]])],
)
def rainOutside(self, rain: list[list[int]], questions: list[list[int]]) -> list[int]:
    rows, cols = len(rain), len(rain[0])
    total = [[0] * (cols + 1) for _ in range(rows + 1)]
    for i in range(rows):
        for j in range(cols):
            total[i + 1][j + 1] = rain[i][j] + total[i][j + 1] + total[i + 1][j] - total[i][j]
    return [
        total[-1][-1] - (total[c + 1][d + 1] - total[a][d + 1] - total[c + 1][b] + total[a][b])
        for a, b, c, d in questions
    ]


def brute_rainOutside(rain, questions):
    return [
        sum(x for i, row in enumerate(rain) for j, x in enumerate(row) if not (a <= i <= c and b <= j <= d))
        for a, b, c, d in questions
    ]


@problem(
    "medium",
    "matrices",
    """A box seen from the front is a list of strings: 'o' is a ball, '#' a fixed peg and '.' empty. Tilt
    the box so that right becomes down: every ball rolls to the right in its row until it meets a peg,
    another ball or the wall. Return the box after the tilt.""",
    """1 <= box.length, box[i].length <= 100
    all rows have the same length""",
    [(["o.#o."],), (["oo.", ".#o"],)],
    lambda r: (lambda c: (["".join(r.choice("oo.#..") for _ in range(c)) for _ in range(r.randint(1, 3))],))(
        r.randint(1, 8)
    ),
    [(["o"],), (["."],), (["ooo..."],), (["#o#.#o.#"],)],
)
def tiltRight(self, box: list[str]) -> list[str]:
    def roll(part):
        return "." * part.count(".") + "o" * part.count("o")

    return ["#".join(roll(part) for part in row.split("#")) for row in box]


def brute_tiltRight(box):
    out = []
    for row in box:
        while "o." in row:
            row = row.replace("o.", ".o")
        out.append(row)
    return out


@problem(
    "medium",
    "matrices",
    """board is a square puzzle of n x n different numbers. It is solved if every row and every column is
    in increasing order. In one move you may exchange two whole rows or two whole columns. Return true if
    the puzzle can be solved by any number of moves.""",
    """1 <= n <= 100
    all numbers are different""",
    [([[4, 3], [2, 1]],), ([[1, 4], [3, 2]],)],
    lambda r: (
        lambda n, solved: (
            lambda rows, cols, bad: (
                (lambda g: (g[0].reverse() if bad else None, g)[1])(
                    [[solved[i][j] for j in cols] for i in rows]
                ),
            )
        )(r.sample(range(n), n), r.sample(range(n), n), r.random() < 0.5)
    )(*(lambda n: (n, [[n * i + j for j in range(n)] for i in range(n)]))(r.randint(1, 4))),
    [
        ([[7]],),
        ([[1, 2], [3, 4]],),
        ([[1, 2, 3], [4, 6, 5], [7, 8, 9]],),
        ([[9, 7, 8], [3, 1, 2], [6, 4, 5]],),
    ],
)
def sortablePuzzle(self, board: list[list[int]]) -> bool:
    rows = sorted(board, key=lambda row: min(row))
    cols = sorted(zip(*rows), key=lambda col: col[0])
    increasing = all(a < b for col in cols for a, b in zip(col, col[1:]))
    return increasing and all(a < b for row in zip(*cols) for a, b in zip(row, row[1:]))


def brute_sortablePuzzle(board):
    n = len(board)
    for rows in permutations(range(n)):
        for cols in permutations(range(n)):
            g = [[board[i][j] for j in cols] for i in rows]
            if all(row == sorted(row) for row in g) and all(list(c) == sorted(c) for c in zip(*g)):
                return True
    return False


# ------------------------------------------------------------------------------------------------- simulation
@problem(
    "easy",
    "simulation",
    """An elevator starts at floor 0 and serves requests in their given order in batches of at most
    capacity people. Person i wants to go from floor 0 to floors[i]. For each batch the elevator rides up
    to the highest floor wanted in the batch, stopping on the way, and returns to floor 0. Return the total
    number of floors that it travels, up and down.""",
    """0 <= floors.length <= 1000
    1 <= floors[i] <= 100
    1 <= capacity <= 100""",
    [([3, 5, 2], 2), ([], 4)],
    lambda r: (ints(r, 0, 10, 1, 20), r.randint(1, 4)),
    [([7], 1), ([1, 2, 3, 4], 4), ([9, 1, 9, 1], 2), ([4, 4, 4], 100)],
)
def elevatorFloors(self, floors: list[int], capacity: int) -> int:
    return sum(2 * max(floors[i : i + capacity]) for i in range(0, len(floors), capacity))


@problem(
    "medium",
    "simulation",
    """A robot stands at the top left cell of a floor plan and looks to the right. '.' is free, 'x' is
    blocked; the top left cell is free. In every step the robot moves one cell ahead if that cell exists
    and is free; otherwise it turns right by 90 degrees and stays. Return the number of different cells
    that it has stood on after the given number of steps.""",
    """1 <= plan.length, plan[i].length <= 50
    0 <= steps <= 10^6""",
    [(["...", ".x.", "..."], 12), (["."], 5)],
    lambda r: (
        lambda c: (lambda rows: (["." + rows[0][1:]] + rows[1:], r.randint(0, 30)))(
            ["".join(r.choice("...x") for _ in range(c)) for _ in range(r.randint(1, 5))]
        )
    )(r.randint(1, 5)),
    [([".x", "x."], 1000000), (["....."], 4), (["..", ".."], 100), (["...x", "x...", "...."], 9)],
)
def robotCells(self, plan: list[str], steps: int) -> int:
    i = j = d = 0
    seen, states = {(0, 0)}, set()
    for _ in range(steps):
        if (i, j, d) in states:  # from here on the walk repeats
            break
        states.add((i, j, d))
        x, y = i + (0, 1, 0, -1)[d], j + (1, 0, -1, 0)[d]
        if 0 <= x < len(plan) and 0 <= y < len(plan[0]) and plan[x][y] == ".":
            i, j = x, y
            seen.add((i, j))
        else:
            d = (d + 1) % 4
    return len(seen)


@problem(
    "medium",
    "simulation",
    """A car park has places numbered from 1 to n. events are processed in order: "in CAR" lets the car
    take the free place with the smallest number, or sends it away if there is none or if the car is
    already inside; "out CAR" frees the place of the car, and is ignored if the car is not inside. Return,
    for every place from 1 to n, the car that stands there at the end, or an empty string.""",
    """1 <= n <= 100
    0 <= events.length <= 1000
    car names consist of lowercase letters""",
    [(2, ["in a", "in b", "out a", "in c", "in d"]), (1, ["out x"])],
    lambda r: (
        r.randint(1, 4),
        [f"{r.choice(['in', 'in', 'out'])} {r.choice(WORDS[:5])}" for _ in range(r.randint(1, 10))],
    ),
    [
        (1, []),
        (2, ["in a", "in a"]),
        (3, ["in a", "in b", "in c", "out b", "out a", "in z"]),
        (1, ["in p", "in q", "out p"]),
    ],
)
def carPark(self, n: int, events: list[str]) -> list[str]:
    places = [""] * n
    for event in events:
        kind, car = event.split()
        if kind == "in":
            if car not in places and "" in places:
                places[places.index("")] = car
        elif car in places:
            places[places.index(car)] = ""
    return places


@problem(
    "medium",
    "simulation",
    """A game of skittles has frames; in each frame the player rolls at ten pins up to two times, or only
    once if the first roll knocks down all ten. rolls lists the pins of all rolls of the complete frames. A
    frame counts the pins it knocked down. If it needed one roll for all ten pins, the pins of the next two
    rolls are added; if it needed two rolls for all ten pins, the pins of the next roll are added. Rolls
    that do not exist count 0. Return the score of every frame.""",
    """0 <= rolls.length <= 200
    rolls describes complete frames""",
    [([3, 4, 10, 5, 5, 2, 0],), ([10, 10],)],
    lambda r: (
        [
            x
            for _ in range(r.randint(0, 5))
            for x in r.choice(
                [[10], [r.randint(0, 4), r.randint(0, 5)], (lambda a: [a, 10 - a])(r.randint(0, 9))]
            )
        ],
    ),
    [([],), ([0, 0],), ([0, 10, 3, 1],), ([10, 10, 10, 10],), ([5, 5],)],
)
def skittleFrames(self, rolls: list[int]) -> list[int]:
    out, i = [], 0
    more = rolls + [0, 0]
    while i < len(rolls):
        if rolls[i] == 10:
            out.append(10 + more[i + 1] + more[i + 2])
            i += 1
        else:
            pins = rolls[i] + rolls[i + 1]
            out.append(pins + (more[i + 2] if pins == 10 else 0))
            i += 2
    return out


@problem(
    "medium",
    "simulation",
    """A cache keeps at most size pages; requests lists the requested pages in order. When a page is
    requested that is not in the cache, that is a miss: the page is loaded, and if the cache is full, the
    page that has been loaded for the longest time is thrown out first, no matter how often it was
    requested since. Pages listed in pinned are never thrown out once they are loaded; if all pages in a
    full cache are pinned, the new page is used but not stored. Return the number of misses.""",
    """0 <= requests.length <= 1000
    1 <= size <= 100
    0 <= requests[i], pinned[i] <= 1000""",
    [([1, 2, 1, 3, 1, 2], 2, []), ([1, 2, 3, 1], 2, [1])],
    lambda r: (ints(r, 0, 16, 0, 5), r.randint(1, 3), r.sample(range(6), r.randint(0, 2))),
    [([], 1, []), ([4, 4, 4], 1, []), ([1, 2, 3, 4, 1], 2, [1, 2]), ([1, 2, 1, 2], 1, [1])],
)
def cacheMisses(self, requests: list[int], size: int, pinned: list[int]) -> int:
    kept, order, misses = set(pinned), [], 0
    for page in requests:
        if page in order:
            continue
        misses += 1
        if len(order) == size:
            old = next((p for p in order if p not in kept), None)
            if old is None:
                continue
            order.remove(old)
        order.append(page)
    return misses


@problem(
    "easy",
    "simulation",
    """A deck of cards lies face down; deck[0] is the top card. Repeat until the deck is empty: lay the top
    card on the table, then move the next skip cards one by one from the top to the bottom of the deck (if
    the deck is empty, nothing is moved). Return the cards in the order in which they are laid on the
    table.""",
    """0 <= deck.length <= 500
    0 <= skip <= 500""",
    [([1, 2, 3, 4, 5], 1), ([7, 8], 0)],
    lambda r: (ints(r, 0, 9, 1, 30), r.randint(0, 5)),
    [([], 3), ([9], 500), ([1, 2, 3], 2), ([1, 2, 3, 4], 4)],
)
def dealCards(self, deck: list[int], skip: int) -> list[int]:
    left, out = deque(deck), []
    while left:
        out.append(left.popleft())
        left.rotate(-skip)
    return out


@problem(
    "medium",
    "simulation",
    """A club keeps a points list. Every entry of results is "NAME POINTS" with a whole number of points
    that may be negative; points of one name are added up. After all entries, return the names of the best
    places members: ordered by points from high to low, equal points by name in alphabetical order. If
    several members have the same points as the member on the last place, they are all returned too.""",
    """1 <= results.length <= 1000
    1 <= places <= 100
    names consist of lowercase letters""",
    [(["eva 3", "tim 5", "eva 2", "bob 1"], 1), (["a -1"], 3)],
    lambda r: (
        [f"{r.choice(WORDS[:5])} {r.randint(-3, 4)}" for _ in range(r.randint(1, 9))],
        r.randint(1, 3),
    ),
    [(["x 0", "y 0", "z 0"], 1), (["b 1", "a 1"], 1), (["p 5", "q 4", "r 4", "s 3"], 2)],
)
def bestPlaces(self, results: list[str], places: int) -> list[str]:
    points = Counter()
    for entry in results:
        name, p = entry.split()
        points[name] += int(p)
    order = sorted(points, key=lambda name: (-points[name], name))
    if len(order) <= places:
        return order
    border = points[order[places - 1]]
    return [name for name in order if points[name] >= border]


@problem(
    "medium",
    "simulation",
    """Set a text in lines of at most width characters: words are put on a line, separated by single
    blanks, as long as they fit; a word longer than width is cut, its first part fills the rest of the
    current line if at least one character fits after the blank (or starts a new line if the line is
    empty), and the cutting goes on until the word is used up. Only words longer than width are cut. Return
    the lines.""",
    """0 <= words.length <= 200
    1 <= words[i].length <= 100
    1 <= width <= 50""",
    [(["the", "cat", "sat"], 7), (["abcdefgh", "x"], 3)],
    lambda r: ([letters(r, 1, r.choice([2, 4, 9]), "abc") for _ in range(r.randint(0, 6))], r.randint(2, 8)),
    [([], 5), (["a", "b", "c"], 1), (["abc"], 3), (["ab", "abcdef"], 4), (["abcd", "abcdef"], 5)],
)
def setText(self, words: list[str], width: int) -> list[str]:
    lines, line = [], ""
    for word in words:
        if len(word) <= width:
            if line and len(line) + 1 + len(word) > width:
                lines.append(line)
                line = ""
            line = f"{line} {word}" if line else word
            continue
        while word:
            room = width - len(line) - 1 if line else width
            if room <= 0:
                lines.append(line)
                line = ""
                continue
            line = f"{line} {word[:room]}" if line else word[:room]
            word = word[room:]
            if word:
                lines.append(line)
                line = ""
    return lines + [line] if line else lines


@problem(
    "easy",
    "simulation",
    """Two runners start at positions a and b of a ring of n places numbered 0 to n - 1 and jump at the
    same time once per second: the first by p places forwards, the second by q places backwards. Return the
    smallest number of seconds t >= 0 after which both stand on the same place at the end of a jump, or -1
    if that never happens.""",
    """1 <= n <= 10^4
    0 <= a, b, p, q < n""",
    [(10, 0, 5, 2, 3), (4, 0, 1, 1, 1)],
    lambda r: (lambda n: (n, *(r.randrange(n) for _ in "abcd")))(r.randint(1, 16)),
    [(1, 0, 0, 0, 0), (5, 2, 2, 1, 1), (6, 0, 3, 2, 2), (7, 1, 3, 0, 0), (9973, 0, 1, 5, 9000)],
)
def ringRunners(self, n: int, a: int, b: int, p: int, q: int) -> int:
    for t in range(n):
        if (a + t * p - b + t * q) % n == 0:
            return t
    return -1


@problem(
    "easy",
    "simulation",
    """A lamp post is switched by a daily plan. The plan is a list of strings "HH:MM on" or "HH:MM off" in
    any order, with different times. At 00:00 the lamp has the state in which the last entry of the
    previous day (the same plan) left it; with an empty plan it is off all day. Return the number of
    minutes of a day during which the lamp is on.""",
    """0 <= plan.length <= 100
    00:00 <= times <= 23:59""",
    [(["06:00 off", "20:30 on"],), (["12:00 on", "12:30 off", "13:00 off"],)],
    lambda r: (
        [
            f"{t // 60:02d}:{t % 60:02d} {r.choice(['on', 'off'])}"
            for t in r.sample(range(1440), r.randint(0, 5))
        ],
    ),
    [
        ([],),
        (["00:00 on"],),
        (["09:10 off"],),
        (["23:59 on", "00:00 off"],),
        (["10:00 on", "11:00 on", "12:00 off"],),
    ],
)
def lampMinutes(self, plan: list[str]) -> int:
    if not plan:
        return 0
    entries = sorted(plan)
    on, total, last = entries[-1].endswith("on"), 0, 0
    for entry in entries:
        t = int(entry[:2]) * 60 + int(entry[3:5])
        total += on * (t - last)
        on, last = entry.endswith("on"), t
    return total + on * (1440 - last)


def brute_lampMinutes(plan):
    state = {int(e[:2]) * 60 + int(e[3:5]): e[6:] == "on" for e in plan}
    on = count = 0
    for minute in range(2880):  # the second day starts in the state that the first one left
        on = state.get(minute % 1440, on)
        count += on and minute >= 1440
    return count


# ------------------------------------------------------------------------------------------------- searching
@problem(
    "medium",
    "binary search",
    """A bakery has ovens; oven i bakes one bread in minutes[i] minutes, one after another, and all ovens
    start at minute 0. Return the first minute at which at least breads breads are ready.""",
    """1 <= minutes.length <= 1000
    1 <= minutes[i] <= 10^6
    1 <= breads <= 10^6""",
    [([3, 5], 4), ([7], 1)],
    lambda r: (ints(r, 1, 4, 1, 9), r.randint(1, 14)),
    [([1], 1000000), ([1000000], 1000000), ([2, 2, 2], 4), ([1, 100], 3)],
)
def bakeryMinute(self, minutes: list[int], breads: int) -> int:
    low, high = 0, min(minutes) * breads
    while low < high:
        mid = (low + high) // 2
        if sum(mid // m for m in minutes) >= breads:
            high = mid
        else:
            low = mid + 1
    return low


def brute_bakeryMinute(minutes, breads):
    if breads > 1000:
        return None
    return sorted(m * k for m in minutes for k in range(1, breads + 1))[breads - 1]


@problem(
    "medium",
    "binary search",
    """Books of the given page numbers are put on shelves in their order; each shelf takes consecutive
    books, and there are shelves shelves (some may stay empty). Return the smallest possible number of
    pages on the fullest shelf.""",
    """1 <= pages.length <= 2000
    1 <= pages[i] <= 10^5
    1 <= shelves <= 2000""",
    [([4, 2, 7, 3], 2), ([9], 3)],
    lambda r: (ints(r, 1, 9, 1, 12), r.randint(1, 4)),
    [([1], 1), ([5, 5, 5, 5], 4), ([5, 5, 5, 5], 3), ([100, 1, 1, 1, 1], 2)],
)
def fullestShelf(self, pages: list[int], shelves: int) -> int:
    low, high = max(pages), sum(pages)
    while low < high:
        mid = (low + high) // 2
        used, room = 1, mid
        for p in pages:
            if p > room:
                used, room = used + 1, mid
            room -= p
        if used <= shelves:
            high = mid
        else:
            low = mid + 1
    return low


def brute_fullestShelf(pages, shelves):
    n = len(pages)
    best = math.inf
    for k in range(min(shelves, n)):
        for cuts in combinations(range(1, n), k):
            edges = [0, *cuts, n]
            best = min(best, max(sum(pages[a:b]) for a, b in zip(edges, edges[1:])))
    return best


@problem(
    "medium",
    "binary search",
    """heights is sorted in non-decreasing order. For every number q in questions, find the number of
    elements that are closest to q, that is the number of elements x for which |x - q| is as small as
    possible. Return the answers in order.""",
    """1 <= heights.length <= 10^4
    -10^6 <= heights[i], q <= 10^6
    0 <= questions.length <= 10^4""",
    [([1, 4, 4, 7], [4, 2, 10]), ([3], [])],
    lambda r: (sorted(ints(r, 1, 10, 0, 15)), ints(r, 1, 4, -3, 18)),
    [([5], [5, -1000000]), ([1, 3], [2]), ([2, 2, 2], [2, 9]), ([0, 0, 4, 4, 4], [2])],
)
def closestCounts(self, heights: list[int], questions: list[int]) -> list[int]:
    out = []
    for q in questions:
        i = bisect_left(heights, q)
        near = [heights[k] for k in (i - 1, i) if 0 <= k < len(heights)]
        d = min(abs(x - q) for x in near)
        out.append(sum(bisect_right(heights, x) - bisect_left(heights, x) for x in {q - d, q + d}))
    return out


def brute_closestCounts(heights, questions):
    out = []
    for q in questions:
        dist = [abs(x - q) for x in heights]
        out.append(dist.count(min(dist)))
    return out


@problem(
    "medium",
    "heaps",
    """Readings arrive one by one. After each reading, report the k-th largest reading so far, where equal
    readings count separately, or -1 while there are fewer than k readings. Readings are not negative.
    Return all reports.""",
    """0 <= readings.length <= 5000
    0 <= readings[i] <= 10^6
    1 <= k <= 5000""",
    [([5, 1, 7, 6], 2), ([3], 2)],
    lambda r: (ints(r, 0, 11, 0, 20), r.randint(1, 4)),
    [([], 1), ([4, 4, 4], 2), ([1, 2, 3, 4], 1), ([9, 8, 7, 6], 3)],
)
def runningKth(self, readings: list[int], k: int) -> list[int]:
    heap, out = [], []
    for x in readings:
        heappush(heap, x)
        if len(heap) > k:
            heappop(heap)
        out.append(heap[0] if len(heap) == k else -1)
    return out


def brute_runningKth(readings, k):
    return [sorted(readings[:i])[-k] if i >= k else -1 for i in range(1, len(readings) + 1)]


@problem(
    "medium",
    "recursion",
    """A box of toys is written as text: a lowercase letter is a toy, and a number n followed by square
    brackets n[...] is a box that holds n times the toys inside the brackets. Boxes can be nested. Return
    the number of toys of the given kind.""",
    """1 <= text.length <= 200
    1 <= n <= 100
    the answer is below 10^15""",
    [("a2[b3[a]]", "a"), ("xyz", "q")],
    lambda r: (lambda f: (f(f, 2), r.choice("ab")))(
        lambda f, depth: "".join(
            r.choice("abc") if depth == 0 or r.random() < 0.5 else f"{r.randint(1, 12)}[{f(f, depth - 1)}]"
            for _ in range(r.randint(1, 4))
        )
    ),
    [("a", "a"), ("10[a]", "a"), ("2[2[2[2[b]]]]", "b"), ("3[a]4[b]5[a]", "a"), ("100[100[100[z]]]", "z")],
)
def countToys(self, text: str, kind: str) -> int:
    stack, number, count = [1], 0, 0
    for c in text:
        if c.isdigit():
            number = number * 10 + int(c)
        elif c == "[":
            stack.append(stack[-1] * number)
            number = 0
        elif c == "]":
            stack.pop()
        else:
            count += stack[-1] * (c == kind)
    return count


def brute_countToys(text, kind):
    if "100" in text:
        return None
    while "[" in text:
        text = re.sub(r"(\d+)\[([a-z]*)\]", lambda m: m.group(2) * int(m.group(1)), text)
    return text.count(kind)


@problem(
    "medium",
    "backtracking",
    """Return all ways to write n as a sum of different positive integers, each at least low. Every way is
    a list in increasing order, and the ways are ordered by comparing the lists number by number from the
    front.""",
    """1 <= n <= 30
    1 <= low <= 30""",
    [(6, 1), (5, 6)],
    lambda r: (r.randint(1, 13), r.randint(1, 4)),
    [(1, 1), (3, 1), (10, 10), (12, 3), (15, 5)],
)
def differentParts(self, n: int, low: int) -> list[list[int]]:
    out = []

    def build(left, smallest, path):
        if left == 0:
            out.append(path)
            return
        for x in range(smallest, left + 1):
            build(left - x, x + 1, path + [x])

    build(n, low, [])
    return out


def brute_differentParts(n, low):
    numbers = range(low, n + 1)
    return sorted(
        list(c) for k in range(1, len(numbers) + 1) for c in combinations(numbers, k) if sum(c) == n
    )


@problem(
    "medium",
    "backtracking",
    """A row of n lockers gets padlocks, each red ('R'), green ('G') or blue ('B'). No two neighbouring
    padlocks may have the same colour, and the number of red padlocks must be exactly red. Return all
    possible rows as strings in alphabetical order.""",
    """1 <= n <= 8
    0 <= red <= 8""",
    [(2, 1), (3, 3)],
    lambda r: (r.randint(1, 5), r.randint(0, 3)),
    [(1, 0), (1, 1), (3, 2), (5, 3), (4, 0)],
)
def lockerRows(self, n: int, red: int) -> list[str]:
    rows = [""]
    for _ in range(n):
        rows = [row + c for row in rows for c in "BGR" if not row or row[-1] != c]
    return [row for row in rows if row.count("R") == red]


def brute_lockerRows(n, red):
    words = ("".join(p) for p in product("RGB", repeat=n))
    return sorted(w for w in words if w.count("R") == red and not re.search(r"(.)\1", w))


@problem(
    "medium",
    "backtracking",
    """You have tiles with letters; tiles is the string of their letters. Return how many different
    non-empty words of at most length letters can be laid with the tiles, each tile used at most once per
    word. Any sequence of letters counts as a word.""",
    """1 <= tiles.length <= 7
    1 <= length <= 7
    tiles consists of uppercase letters""",
    [("AAB", 2), ("Z", 5)],
    lambda r: (letters(r, 1, 6, "ABCD"), r.randint(1, 4)),
    [("A", 1), ("ABCDEFG", 7), ("AAAAAAA", 3), ("AABB", 4)],
)
def tileWords(self, tiles: str, length: int) -> int:
    def count(left, room):
        total = 0
        for c in list(left):
            if left[c] and room:
                left[c] -= 1
                total += 1 + count(left, room - 1)
                left[c] += 1
        return total

    return count(Counter(tiles), length)


def brute_tileWords(tiles, length):
    return len({p for k in range(1, min(length, len(tiles)) + 1) for p in permutations(tiles, k)})


# ------------------------------------------------------------------------------------------ the held-out part
# Fixed by name: about one problem in four, every topic represented, and nothing here that a training problem
# resembles (tests/test_problems.py compares the statements).
TEST_SPLIT = frozenset(  # noqa: SIM905 (a list literal would be three times as long)
    """
    weaveParity nearestPairSum longestSwing secondSmallestGap shelfOrders
    vowelShift sharedEnding hiddenMessage fairCase alikeLines
    rootGroups suspiciousCards evenScarves
    shortestWait flipConsonants brightRow
    stackMachine sidingCapacity printOrder
    gardenRing triangularPieces twoWorkers cutDigits
    largestEven trimHedges orderBonus
    twoBuses knightSquares rankCounts
    cubeCycle primeGap exactlyOneDivides kingWalks
    reflectedPosition smallestTeam
    paintedOnce closeRoad
    cheapSquare tiltRight hallSeats
    carPark skittleFrames ringRunners
    bakeryMinute differentParts countToys
    """.split()  # noqa: SIM905
)
N_TESTS = 16


def show(value):
    """A value as problem statements write it: strings in double quotes, true and false, compact lists."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def leetcode_types(code):
    return re.sub(r"\b(list|dict|set|tuple)\[", lambda m: m.group(1).title() + "[", code)


def source_of(fn):
    """(starter code, reference solution) from the source of a decorated function."""
    lines = inspect.getsource(fn).splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("def "))
    body = leetcode_types("\n".join(lines[start:]).rstrip())
    starter = "class Solution:\n    " + body.split("\n", 1)[0]
    return starter, "class Solution:\n" + textwrap.indent(body, "    ") + "\n"


def statement_of(p, names):
    paragraphs = [re.sub(r"\s+", " ", part).strip() for part in p["statement"].strip().split("\n\n")]
    parts = ["\n".join(paragraphs)]
    for k, args in enumerate(p["examples"], 1):
        given = ", ".join(f"{n} = {show(a)}" for n, a in zip(names, args, strict=True))
        parts.append(f"Example {k}:\n\nInput: {given}\nOutput: {show(answer(p['fn'], args))}")
    limits = [line.strip() for line in p["limits"].strip().splitlines()]
    parts.append("Constraints:\n\n" + "\n".join(limits))
    return "\n\n".join(parts)


def answer(fn, args):
    return fn(None, *copy.deepcopy(args))


def inputs_of(name, p):
    """Examples, edges, then seeded random inputs; no answer may make up more than half of the tests."""
    cap = N_TESTS // 2
    chosen, seen, answers = [], set(), Counter()
    r = random.Random(name)
    for args in itertools.chain(p["examples"], p["edges"], (p["gen"](r) for _ in range(400))):
        key, out = repr(args), repr(answer(p["fn"], args))
        fixed = len(chosen) < len(p["examples"]) + len(p["edges"])
        if key in seen or (not fixed and answers[out] >= cap):
            continue
        seen.add(key)
        answers[out] += 1
        chosen.append(args)
        if len(chosen) >= N_TESTS and not fixed:
            break
    return chosen


def prove(name, p, tests):
    """Reference == brute force on every test and 60 further inputs; the wrong solution fails a test."""
    brute, wrong = globals().get(f"brute_{name}"), globals().get(f"wrong_{name}")
    compared = 0
    if brute:
        r = random.Random("prove " + name)
        for args in tests + [p["gen"](r) for _ in range(60)]:
            expected = brute(*copy.deepcopy(args))
            if expected is None:
                continue  # too large for the slow solution
            got = answer(p["fn"], args)
            if got != expected or type(got) is not type(expected):
                raise SystemExit(f"{name}{args}: reference {got!r}, brute force {expected!r}")
            compared += 1
    if wrong and all(wrong(*copy.deepcopy(a)) == answer(p["fn"], a) for a in tests):
        raise SystemExit(f"{name}: the wrong solution passes every test; add an input that catches it")
    return compared


def make():
    """(problems, number of reference-against-brute comparisons), in the order of this file."""
    unknown = TEST_SPLIT - set(PROBLEMS)
    if unknown:
        raise SystemExit(f"TEST_SPLIT names unknown problems: {sorted(unknown)}")
    rows, compared = [], 0
    for name, p in PROBLEMS.items():
        names = list(inspect.signature(p["fn"]).parameters)[1:]
        tests = inputs_of(name, p)
        if len(tests) < 10:
            raise SystemExit(f"{name}: only {len(tests)} different tests")
        compared += prove(name, p, tests)
        starter, reference = source_of(p["fn"])
        asserts = []
        for args in tests:
            given = ", ".join(f"{n} = {a!r}" for n, a in zip(names, args, strict=True))
            asserts.append(f"assert Solution().{name}({given}) == {answer(p['fn'], args)!r}")
        rows.append(
            Problem(
                id=name,
                source="own",
                split="test" if name in TEST_SPLIT else "train",
                question=statement_of(p, names),
                func_name=name,
                starter_code=starter,
                setup_code=SETUP,
                tests=tuple(asserts),
                reference=reference,
                difficulty=p["level"],
            )
        )
    return rows, compared


def main():
    parser = argparse.ArgumentParser(description="write data/problems.jsonl from the authored problems")
    parser.add_argument(
        "--check", action="store_true", help="compare with the file on disk instead of writing it"
    )
    check = parser.parse_args().check
    rows, compared = make()
    out = OUT.with_name("problems.check.jsonl") if check else OUT
    dump_problems(out, rows)
    if check:
        same = out.read_bytes() == OUT.read_bytes()
        out.unlink()
        if not same:
            raise SystemExit(f"{OUT} is not what data/make_problems.py writes; run it")
    brutes = sum(f"brute_{n}" in globals() for n in PROBLEMS)
    splits = Counter((p.split, p.difficulty) for p in rows)
    print(f"{len(rows)} problems, {sum(len(p.tests) for p in rows)} tests, {dict(splits)}")
    print(f"{brutes} with a brute force: {compared} comparisons agree")


if __name__ == "__main__":
    main()
