"""Who a replica is, exactly once, and what a checkpoint says of its outbox."""

from __future__ import annotations

from typing import Any

from suite.cases import NotCheckedError, case, must, same
from suite.peer import Outcomes, Peer, new_name
from suite.wire import Hub


def _is_counter(peer: Peer) -> bool:
    column = next(c for c in peer.schemas["product"]["columns"] if c["name"] == "stock")
    return bool(column.get("merge", "last_writer") == "counter")


def _note(peer: Peer, title: str = "a") -> list[dict[str, Any]]:
    return [peer.insert("note", {"id": new_name(), "title": title})]


@case(
    "Changes that it has answered before get the same outcome again and nothing is done twice, "
    "whichever way they come."
)
def a_push_whose_answer_was_lost_is_sent_again(hub: Hub) -> None:
    writer, other = Peer(hub), Peer(hub)
    if not _is_counter(writer):
        raise NotCheckedError("needs a hub where stock merges as `counter`")
    key = writer.key("product")
    product = {"id": key, "name": "Tea", "stock": 100, "code": None}
    writer.push([writer.insert("product", product)])
    writer.pull()
    bad = {"id": writer.key("product"), "name": None, "stock": 0}
    message = writer.message(
        [writer.update("product", (key,), {"stock": 90})], [writer.insert("product", bad)]
    )
    first = writer.send(message)
    for _ in range(3):
        same(writer.send(message).all, first.all, "the outcomes of a push that came again")
    other.pull()
    same((other.row("product", key) or {}).get("stock"), 90, "100 less 10, sent four times")


@case(
    "Changes that it has answered before get the same outcome again and nothing is done twice, "
    "whichever way they come."
)
def what_was_answered_may_come_again_with_more_behind_it(hub: Hub) -> None:
    writer = Peer(hub)
    old, new = _note(writer), _note(writer)
    writer.push(old).are("applied")
    writer.next_n = 1
    writer.push(old, new).are("applied", "applied")
    same(writer.next_n, 3, "the next number")
    writer.next_n = 2
    writer.push(new).are("applied")


@case(
    "Three things tell that this file is not the only one with its identity, or older than the "
    "hub's memory of it"
)
def the_same_number_with_another_id_is_a_fork(hub: Hub) -> None:
    writer, name = Peer(hub), new_name()
    writer.push(_note(writer))
    writer.next_n = 1
    problem = hub.refusal("push", writer.message([writer.insert("note", {"id": name})]))
    same((problem["status"], problem["code"]), (409, "identity-forked"), "status and code")
    writer.pull()
    same(writer.row("note", name), None, "the row of a refused push")


@case("**The hub takes all of a push or nothing** (a problem)")
def a_number_that_was_left_out_refuses_the_push(hub: Hub) -> None:
    writer = Peer(hub)
    writer.next_n = 3
    problem = hub.refusal("push", writer.message(_note(writer)))
    same((problem["status"], problem["code"]), (409, "number-gap"), "status and code")
    same(problem.get("path"), "first_n", "the path")
    writer.next_n = 1
    writer.push(_note(writer)).are("applied")


@case(
    "its changes get numbers 1, 2, 3 … under the new identity and are sent again with their old "
    "ids, so that what did take effect is recognised."
)
def a_new_identity_is_recognised_by_the_ids(hub: Hub) -> None:
    writer = Peer(hub)
    sent, unsent = _note(writer), _note(writer)
    bad = [writer.insert("product", {"id": writer.key("product"), "name": None, "stock": 0})]
    writer.push(sent, bad).are("applied", "rejected not-null")
    writer.take_new_identity()
    found = writer.push(sent, bad, unsent, formers=writer.formers)
    found.are("duplicate", "rejected not-null", "applied")
    writer.pull()
    same(writer.answered, 3, "`answered` under the new identity")


@case("if its commit is not in the hub's log, the answer is `hub-restored`")
def a_hub_that_knows_less_than_it_said_is_a_restored_one(hub: Hub) -> None:
    writer = Peer(hub)
    message = writer.message(_note(writer), known=5)
    same(hub.refusal("push", message)["code"], "hub-restored", "the code for `known` beyond all")
    message = writer.message([writer.insert("note", {"id": new_name()}, mark=writer.mark + 10**9)])
    same(hub.refusal("push", message)["code"], "hub-restored", "the code for a mark beyond the log")


@case("if the hub has never answered it, it says `hub-restored`")
def an_answer_that_it_never_gave_tells_that_the_hub_was_restored(hub: Hub) -> None:
    writer = Peer(hub)
    writer.push(_note(writer)).are("applied")
    for operation, message in (
        ("push", writer.message(_note(writer))),
        ("pull", writer.request()),
    ):
        told = {**message, "known": 1, "known_id": "0" * 32}
        same(hub.refusal(operation, told)["code"], "hub-restored", f"the code of a {operation}")


@case("if its commit is not in the hub's log, the answer is `hub-restored`")
def a_checkpoint_of_another_log_is_not_taken(hub: Hub) -> None:
    other = Peer(hub.second())
    other.push(_note(other))
    other.pull()
    writer = Peer(hub)
    problem = hub.refusal("push", writer.message(_note(writer), checkpoint=other.checkpoint))
    must(
        problem["code"] in ("hub-restored", "epoch-changed"),
        f"the code for another hub's checkpoint is {problem['code']}",
    )
    writer.push(_note(writer), checkpoint=writer.checkpoint).are("applied")


@case("the epoch that registering gave")
def another_epoch_is_refused(hub: Hub) -> None:
    writer = Peer(hub)
    problem = hub.refusal("push", writer.message(_note(writer), epoch="0123456789abcdef"))
    same((problem["status"], problem["code"]), (409, "epoch-changed"), "status and code")


@case("the last number of this replica whose change the page includes; with a checkpoint")
def a_checkpoint_covers_what_was_pushed(hub: Hub) -> None:
    writer, other = Peer(hub), Peer(hub)
    same(writer.answered, 0, "`answered` before the first push")
    writer.push(_note(writer), _note(writer))
    writer.pull()
    same(writer.answered, 2, "`answered` after a push of two")
    other.push(_note(other))
    writer.pull()
    same(writer.answered, 2, "`answered` after a push of somebody else")


@case("an outcome for every own number after `known`; with a checkpoint")
def a_checkpoint_tells_the_outcomes_that_are_not_known(hub: Hub) -> None:
    writer, names = Peer(hub), [new_name(), new_name()]
    first, second = ([writer.insert("note", {"id": name, "title": "a"})] for name in names)
    bad = [writer.insert("product", {"id": writer.key("product"), "name": None, "stock": 0})]
    message = writer.message(first, bad, second)
    pushed = Outcomes(message, hub.call("push", message))  # whose answer is lost
    page = hub.call("pull", writer.request(known=0))
    told = {outcome["n"]: outcome for outcome in page.get("outcomes", [])}
    keys = {1: [names[0]], 3: [names[1]]}  # those of inserts are named, though they did not move
    for outcome in pushed.all:
        n = outcome["n"]
        whole = outcome | {"key": keys[n]} if n in keys else outcome
        same(told.get(n), whole, f"the outcome of number {n}")
    page = hub.call("pull", writer.request(known=2))
    same([o["n"] for o in page.get("outcomes", [])], [3], "the outcomes after number 2")


@case("takes a [new identity](#a-new-identity)")
def an_identity_that_nobody_gave_is_refused(hub: Hub) -> None:
    writer = Peer(hub)
    for operation, message in (
        ("pull", writer.request(replica="0123456789abcdef")),
        ("push", writer.message(_note(writer), replica="0123456789abcdef")),
    ):
        problem = hub.refusal(operation, message)
        same(
            (problem["status"], problem["code"]), (409, "replica-unknown"), f"{operation}: refusal"
        )


@case("a table that it pushed has another version now")
def a_push_in_another_version_is_refused(hub: Hub) -> None:
    writer = Peer(hub)
    for versions in ({"note": 99}, {}):
        problem = hub.refusal("push", writer.message(_note(writer), schemas=versions))
        same((problem["status"], problem["code"]), (409, "schema-changed"), "status and code")
