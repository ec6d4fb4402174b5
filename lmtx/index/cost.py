"""Which search costs less: the model behind `way="auto"`.

In the unit of one product of two vectors within the exact search on a CPU, n queries and L labels cost

    exact   n L
    graph   (BUILD L B + QUERY n E) log2 L,

where B is the breadth of the search that finds a label's place as the graph is built, E that of a query's
search (`BREADTH`, `breadth`): a search in a graph visits a number of nodes that grows with its breadth
and with the logarithm of the number of nodes (Malkov and Yashunin, 2018, section 4.2). A product within a
graph costs more than one within a matrix product, whose vectors lie in the cache. BUILD and QUERY are
such ratios of processor time, at 131,072 labels of 384 dimensions on an AMD EPYC with AVX-512;
`tests/benchmarks/bench_search.py --parts model` measures them. With fewer labels, of which more lie in the
cache, they are smaller (25 and 36 at 32,768 labels, 6 and 6 at 4,096), with more they may be larger, which
`_GAIN` makes up for.

A graph finds most of the nearest labels, not all. So it must be worth it: it is chosen where it takes at
most half the time of the exact search. That is far up: for 500,000 labels, from about 1.2 million queries
at once on. On a GPU, whose products cost a small part of a CPU's, the search is always exact.
"""

import math
from typing import Literal

LINKS, BREADTH = 32, 200  # of a label in the graph, and of the search that finds them: `M`, `efConstruction`
BUILD, QUERY = 43, 48
_GAIN = 2


def breadth(k: int) -> int:
    """How many labels a search in the graph holds for k wanted (`efSearch`)."""
    return max(BREADTH, 2 * k)


def cheaper(n: int, n_labels: int, k: int, place: str) -> Literal["exact", "graph"]:
    """The way for n queries, L labels and k wanted, where the exact search runs on the device `place`."""
    return "graph" if place == "cpu" and n * n_labels > _GAIN * graph_cost(n, n_labels, k) else "exact"


def graph_cost(n: int, n_labels: int, k: int) -> float:
    """Of building a graph and searching it, in products of the exact search."""
    return (BUILD * n_labels * BREADTH + QUERY * n * breadth(k)) * math.log2(max(n_labels, 2))
