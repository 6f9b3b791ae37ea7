"""Topologies: the published edges, sides that mirror each other, orders that can be undone."""

import numpy as np
import pytest

from fewdistill.benchmark.data.skeletons.topology import names, order, topology
from fewdistill.benchmark.runtime.errors import DataError
from fewdistill.teachers import TeacherError

PUBLISHED = {  # 1-based (child, parent), as the papers' code and pages print them; the centre last
    "ntu25": (
        "1-2 2-21 3-21 4-3 5-21 6-5 7-6 8-7 9-21 10-9 11-10 12-11 13-1 14-13 15-14 16-15 17-1 18-17 19-18 20-19 22-23 "
        "23-8 24-25 25-12",
        21,
    ),
    "nw_ucla20": ("1-2 2-3 4-3 5-3 6-5 7-6 8-7 9-3 10-9 11-10 12-11 13-1 14-13 15-14 16-15 17-1 18-17 19-18 20-19", 3),
    "msr20": ("20-3 1-3 2-3 8-1 10-8 12-10 9-2 11-9 13-11 4-3 7-4 5-7 6-7 14-5 16-14 18-16 15-6 17-15 19-17", 3),
    "openpose18": ("5-4 4-3 8-7 7-6 14-13 13-12 11-10 10-9 12-6 9-3 6-2 3-2 1-2 16-1 15-1 18-16 17-15", 2),
}


def test_all_topologies_are_known_here() -> None:
    assert set(names()) == set(PUBLISHED)


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_edges_are_the_published_ones_and_lead_to_the_centre(name: str) -> None:
    skeleton = topology(name)
    pairs, centre = PUBLISHED[name]
    edges = [tuple(int(joint) - 1 for joint in pair.split("-")) for pair in pairs.split()]
    assert sorted(skeleton.edges) == sorted(edges)
    assert skeleton.centre == centre - 1 and skeleton.parents[skeleton.centre] == skeleton.centre
    assert all(skeleton.parents[child] == parent for child, parent in edges)
    assert len(edges) == len(skeleton.joints) - 1 == len(set(skeleton.joints)) - 1


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_sides_are_named_so_and_mirror_each_other(name: str) -> None:
    skeleton = topology(name)
    for side, joints in (("left", skeleton.left), ("right", skeleton.right)):
        assert [joint for joint, said in enumerate(skeleton.joints) if said.startswith(side)] == list(joints)
    place = {joint: number for number, joint in enumerate(skeleton.joints)}
    mirror = {
        number: place[joint.replace("left_", "x_").replace("right_", "left_").replace("x_", "right_")]
        for joint, number in place.items()
    }
    swapped = {frozenset((mirror[a], mirror[b])) for a, b in skeleton.edges}
    lopsided = {frozenset(edge) for edge in skeleton.edges} ^ swapped
    assert not lopsided


def test_msr_in_the_order_of_nw_ucla_is_the_same_body() -> None:
    msr, ucla, places = topology("msr20"), topology("nw_ucla20"), order("msr20", "nw_ucla20")
    assert [msr.joints[place] for place in places] == list(ucla.joints)
    back = order("nw_ucla20", "msr20")
    assert np.array_equal(places[back], np.arange(20)) and np.array_equal(back[places], np.arange(20))
    renamed = {frozenset((int(back[a]), int(back[b]))) for a, b in msr.edges}
    # The two lists differ in how limbs hang on the trunk of 20 joints only where the data say so: here they agree.
    assert renamed == {frozenset(edge) for edge in ucla.edges}
    assert {int(back[joint]) for joint in msr.left} == set(ucla.left)


def test_unknown_names_and_orders() -> None:
    with pytest.raises(DataError, match="unknown topology 'ntu': did you mean ntu25"):
        topology("ntu")
    with pytest.raises(DataError, match="no joint order from ntu25 to msr20"):
        order("ntu25", "msr20")
    assert np.array_equal(order("ntu25", "ntu25"), np.arange(25))
    with pytest.raises(TeacherError, match="no camera"):
        topology("ntu25").needed_camera()
