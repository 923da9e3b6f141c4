"""Files that are dropped, replaced and deleted become one S3 event each, whatever the file system tells."""
from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import unquote_plus

import pytest
from aws_lambda_powertools.utilities.parser.models import S3Model

from microlam import Microlam
from microlam.clock import SystemClock
from microlam.errors import InvalidParameter
from microlam.model import Drop, Trigger, function_arn
from microlam.resources.buckets import Adopted, Buckets, check_bucket
from microlam.sources.files import Busy, Look, Moved, Whole, examine, scan
from microlam.sources.folders import Folders
from microlam.sources.follower import LARGE, Follower
from microlam.store import ObjectRow, Store
from microlam.triggers import Triggers

THUMBS = function_arn("thumbs", "eu-west-1", "111111111111")
PATIENCE = 30.0     # seconds until a test gives up on an event that must come
QUIET = 0.1


@dataclass
class House:
    """A running folder source over real files and a real store."""

    folder: Path
    data: Path
    store: Store
    triggers: Triggers
    buckets: Buckets
    said: list[str]
    woken: asyncio.Event
    events: list[S3Model]

    def listen(self, *drops: Drop) -> None:
        self.triggers.replace(THUMBS, [Trigger(target=THUMBS, when=drop) for drop in drops])

    async def happened(self, count: int) -> list[str]:
        """The next events, as `ObjectCreated:Put a.png`, once there are so many."""
        async with asyncio.timeout(PATIENCE):
            while len(self.events) < count:
                await self.woken.wait()
                self.woken.clear()
                claimed = await self.store.claim(SystemClock().now(), 1000)
                self.events += [S3Model.model_validate_json(invocation.payload) for invocation in claimed]
        taken, self.events[:] = [said(event) for event in self.events], []
        return taken

    async def known(self, bucket: str = "uploads") -> None:
        """Return when what was in a bucket first has been taken in."""
        await until(lambda: self.store.bucket_known(bucket))

    async def has(self, key: str) -> bool:
        return key in await self.store.objects("uploads")

    async def warned(self) -> bool:
        return bool(self.said)

    async def follows_nothing(self) -> bool:
        return not any("Follower.run" in repr(task.get_coro()) for task in asyncio.all_tasks())


async def until(look: Callable[[], Awaitable[bool]]) -> None:
    """Look again and again, for what comes without saying so."""
    async with asyncio.timeout(PATIENCE):
        while not await look():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def said(event: S3Model) -> str:
    record = event.Records[0]
    assert record.s3.object is not None
    return f"{record.eventName} {unquote_plus(record.s3.object.key)}"


@asynccontextmanager
async def running(
    root: Path, *drops: Drop, poll: bool = False, quiet: float = QUIET, kind: type[Buckets] = Buckets, folder: Path | None = None,
) -> AsyncIterator[House]:
    folder, data = folder or root / "functions", root / "data"
    (root / "functions").mkdir(exist_ok=True)
    store = await Store.open(data)
    triggers, woken = Triggers(), asyncio.Event()
    sentences: list[str] = []
    buckets = kind(folder, data, store=store, triggers=triggers, wake=woken.set, region="eu-west-1")
    house = House(folder, data, store, triggers, buckets, sentences, woken, [])
    if drops:
        house.listen(*drops)
    folders = Folders(buckets, triggers, SystemClock(), quiet=quiet, poll=poll, say=sentences.append)
    task = asyncio.create_task(folders.run())
    try:
        yield house
    finally:
        task.cancel()
        await asyncio.wait([task])
        await store.close()
    assert task.cancelled(), task.exception()


@pytest.fixture
def uploads(tmp_path: Path) -> Path:
    folder = tmp_path / "functions" / "uploads"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
async def house(tmp_path: Path, uploads: Path) -> AsyncIterator[House]:
    async with running(tmp_path, Drop(bucket="uploads")) as house:
        await house.known()
        yield house


# ---- what happens to a file ------------------------------------------------------------------------------------------

async def test_a_dropped_file_is_a_put_with_its_size_and_etag(house: House, uploads: Path) -> None:
    content = b"x" * 3_000_001
    (uploads / "a b.png").write_bytes(content)

    async with asyncio.timeout(PATIENCE):
        await house.woken.wait()
    [invocation] = await house.store.claim(SystemClock().now(), 10)
    [record] = S3Model.model_validate_json(invocation.payload).Records
    assert (invocation.arn, invocation.cause, invocation.summary) == (THUMBS, "file", "uploads/a b.png created")
    assert record.s3.object is not None
    assert (record.s3.object.key, record.s3.object.size, record.s3.object.eTag) == ("a+b.png", len(content), hashlib.md5(content).hexdigest())
    assert (record.eventName, record.awsRegion, record.s3.bucket.name) == ("ObjectCreated:Put", "eu-west-1", "uploads")


async def test_a_file_s_life(house: House, uploads: Path) -> None:
    path = uploads / "in" / "2026" / "a.txt"
    path.parent.mkdir(parents=True)
    path.write_text("one")
    assert await house.happened(1) == ["ObjectCreated:Put in/2026/a.txt"]
    path.write_text("two")
    assert await house.happened(1) == ["ObjectCreated:Put in/2026/a.txt"]
    path.rename(uploads / "b.txt")
    assert sorted(await house.happened(2)) == ["ObjectCreated:Put b.txt", "ObjectRemoved:Delete in/2026/a.txt"]
    (uploads / "b.txt").unlink()
    assert await house.happened(1) == ["ObjectRemoved:Delete b.txt"]


async def test_sequencers_rise(house: House, uploads: Path) -> None:
    sequencers = []
    for number in range(3):
        (uploads / "a.txt").write_text("x" * number)
        async with asyncio.timeout(PATIENCE):
            await house.woken.wait()
        house.woken.clear()
        [invocation] = await house.store.claim(SystemClock().now(), 10)
        sequencers.append(json.loads(invocation.payload)["Records"][0]["s3"]["object"]["sequencer"])
    assert sequencers == sorted(set(sequencers))
    assert len({len(sequencer) for sequencer in sequencers}) == 1


async def test_a_file_replaced_in_any_way_is_one_put(house: House, uploads: Path) -> None:
    (uploads / "a.txt").write_text("old")
    await house.happened(1)
    # by another moved over it
    (uploads / ".a.txt.new").write_text("new")
    (uploads / ".a.txt.new").rename(uploads / "a.txt")
    assert await house.happened(1) == ["ObjectCreated:Put a.txt"]
    # by being deleted and written again
    (uploads / "a.txt").unlink()
    (uploads / "a.txt").write_text("again")
    assert await house.happened(1) == ["ObjectCreated:Put a.txt"]
    # by the same content once more, as a PUT of it would be
    os.utime(uploads / "a.txt")
    assert await house.happened(1) == ["ObjectCreated:Put a.txt"]


async def test_only_keys_that_somebody_wants_are_told(tmp_path: Path, uploads: Path) -> None:
    drops = (Drop(bucket="uploads", prefix="in/", suffix=".png"), Drop(bucket="uploads", prefix="gone/", events=("s3:ObjectRemoved:*",)))
    async with running(tmp_path, *drops) as house:
        await house.known()
        for name in ("in/a.png", "in/a.jpg", "a.png", "gone/a"):
            (uploads / name).parent.mkdir(exist_ok=True)
            (uploads / name).write_text(name)
        assert await house.happened(1) == ["ObjectCreated:Put in/a.png"]
        (uploads / "gone" / "a").unlink()
        assert await house.happened(1) == ["ObjectRemoved:Delete gone/a"]


async def test_what_is_no_object_makes_no_event(house: House, uploads: Path) -> None:
    for name in (".DS_Store", ".a.txt.swp", "a.txt~", "film.mkv.part", "film.mkv.crdownload", ".hidden/a.txt"):
        (uploads / name).parent.mkdir(exist_ok=True)
        (uploads / name).write_text("x")
    (uploads / "folder").mkdir()
    os.mkfifo(uploads / "pipe")
    (uploads / "loop").symlink_to(uploads)
    (uploads / "dangling").symlink_to(uploads / "nowhere")
    (uploads / "a.txt").write_text("x")
    (uploads / "z.txt").symlink_to(uploads / "a.txt")
    assert sorted(await house.happened(2)) == ["ObjectCreated:Put a.txt", "ObjectCreated:Put z.txt"]
    assert set(await house.store.objects("uploads")) == {"a.txt", "z.txt"}


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


@pytest.mark.parametrize("replace", [Path.mkdir, lambda path: path.symlink_to("/"), a_socket, os.mkfifo], ids=["folder", "link to a folder", "socket", "pipe"])
async def test_a_file_replaced_by_what_is_no_file_is_gone(house: House, uploads: Path, replace: Callable[[Path], None]) -> None:
    (uploads / "report").write_text("x")
    assert await house.happened(1) == ["ObjectCreated:Put report"]
    (uploads / "report").unlink()
    replace(uploads / "report")
    assert await house.happened(1) == ["ObjectRemoved:Delete report"]
    (uploads / "next").write_text("x")
    assert await house.happened(1) == ["ObjectCreated:Put next"]


async def test_a_bucket_that_stumbles_says_so_and_is_tried_again(tmp_path: Path, uploads: Path) -> None:
    class Stumbling(Buckets):
        stumbled = False

        async def change(self, bucket: str, put: Iterable[Adopted], removed: Sequence[str], now: datetime) -> Sequence[ObjectRow]:
            if not self.stumbled:
                self.stumbled = True
                raise ValueError("what nobody expects")
            return await super().change(bucket, put, removed, now)

    async with running(tmp_path, Drop(bucket="uploads"), kind=Stumbling) as house:
        await house.known()
        (uploads / "a.txt").write_text("x")
        assert await house.happened(1) == ["ObjectCreated:Put a.txt"]
        assert house.said == ["Bucket uploads cannot be followed and is tried again: ValueError('what nobody expects')"]


async def test_polling_finds_the_same(tmp_path: Path, uploads: Path) -> None:
    async with running(tmp_path, Drop(bucket="uploads"), poll=True) as house:
        await house.known()
        (uploads / "a.txt").write_text("x")
        assert await house.happened(1) == ["ObjectCreated:Put a.txt"]


async def test_two_buckets_are_kept_apart(tmp_path: Path, uploads: Path) -> None:
    async with running(tmp_path, Drop(bucket="uploads"), Drop(bucket="uploads-2")) as house:
        await house.known()
        await house.known("uploads-2")
        (uploads / "a.txt").write_text("x")
        (house.data / "buckets" / "uploads-2" / "b.txt").write_text("x")
        assert sorted(await house.happened(2)) == ["ObjectCreated:Put a.txt", "ObjectCreated:Put b.txt"]
        assert (set(await house.store.objects("uploads")), set(await house.store.objects("uploads-2"))) == ({"a.txt"}, {"b.txt"})


# ---- whole or not ----------------------------------------------------------------------------------------------------

WRITER = """
import sys
file = open(sys.argv[1], "wb", buffering=0)
file.write(b"first half, ")
print("open", flush=True)
sys.stdin.readline()
file.write(b"second half")
"""


async def writer(path: Path) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", WRITER, str(path), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout
    assert await process.stdout.readline() == b"open\n"
    return process


@pytest.mark.skipif(sys.platform != "linux", reason="read leases are Linux's")
async def test_a_file_that_somebody_still_writes_waits_however_long_he_pauses(house: House, uploads: Path) -> None:
    # given a writer who pauses for much longer than a moment
    process = await writer(uploads / "a.bin")
    (uploads / "b.bin").write_bytes(b"whole")
    assert await house.happened(1) == ["ObjectCreated:Put b.bin"]
    os.utime(uploads / "b.bin")
    assert await house.happened(1) == ["ObjectCreated:Put b.bin"]
    # when he goes on and ends
    await process.communicate(b"go on\n")
    # then the file is told once, as it is now
    assert await house.happened(1) == ["ObjectCreated:Put a.bin"]
    assert (await house.store.objects("uploads"))["a.bin"].size == len(b"first half, second half")


@pytest.mark.skipif(sys.platform != "linux", reason="read leases are Linux's")
async def test_a_writer_who_comes_while_a_file_is_examined_is_not_noticed_by_the_server(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("x")
    status = path.stat()
    look = Look(status.st_size, status.st_mtime_ns, status.st_ino)
    # Opening for writing breaks a lease, and the signal for that would end a process that did not choose another one.
    code = "import sys\nfor _ in range(20000): open(sys.argv[1], 'r+b').close()"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, str(path))
    verdicts = Counter[type[object]]()
    while process.returncode is None:
        verdicts[type(await asyncio.to_thread(examine, path, look))] += 1
    assert set(verdicts) <= {Whole, Busy}
    assert verdicts[Whole]


async def test_what_is_dropped_while_a_large_file_is_read_does_not_wait_for_it(house: House, uploads: Path) -> None:
    large = uploads / "large"
    with large.open("wb") as file:
        file.truncate(1 << 40)

    async def is_read() -> bool:
        return any(os.path.realpath(f"/proc/self/fd/{name}") == str(large) for name in os.listdir("/proc/self/fd"))

    await until(is_read)
    (uploads / "small").write_text("x")
    assert await house.happened(1) == ["ObjectCreated:Put small"]
    os.truncate(large, LARGE + 1)
    assert await house.happened(1) == ["ObjectCreated:Put large"]
    os.truncate(large, 1 << 40)
    await until(is_read)        # and the end does not wait for it either


async def test_large_files_are_told_one_after_the_other(house: House, uploads: Path) -> None:
    for name in "abc":
        (uploads / name).write_bytes(name.encode() * (LARGE + 1))
    assert sorted(await house.happened(3)) == [f"ObjectCreated:Put {name}" for name in "abc"]
    assert (await house.store.objects("uploads"))["b"].etag == hashlib.md5(b"b" * (LARGE + 1)).hexdigest()


def test_a_file_that_is_another_than_the_one_that_was_quiet_has_moved(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("x")
    look = scan(tmp_path).files["a.txt"]
    path.write_text("longer")
    assert examine(path, look) == Moved(scan(tmp_path).files["a.txt"])
    path.unlink()
    assert examine(path, look) == Moved(None)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
async def test_an_unreadable_file_is_said_and_read_when_it_may_be(house: House, uploads: Path) -> None:
    path = uploads / "a.txt"
    path.touch(mode=0o000)
    (uploads / "b.txt").write_text("x")
    assert await house.happened(1) == ["ObjectCreated:Put b.txt"]
    path.chmod(0o600)
    assert await house.happened(1) == ["ObjectCreated:Put a.txt"]
    assert any("a.txt cannot be read" in sentence for sentence in house.said)


async def test_a_name_that_is_not_utf_8_is_said_and_harms_no_other(house: House, uploads: Path) -> None:
    (uploads / os.fsdecode(b"\xff.txt")).write_text("x")
    (uploads / "a.txt").write_text("x")
    assert await house.happened(1) == ["ObjectCreated:Put a.txt"]
    assert any("not UTF-8" in sentence for sentence in house.said)
    (uploads / os.fsdecode(b"\xff.txt")).unlink()
    (uploads / "b.txt").write_text("x")
    assert await house.happened(1) == ["ObjectCreated:Put b.txt"]


# ---- restarts --------------------------------------------------------------------------------------------------------

async def test_files_that_are_there_at_the_very_first_start_are_no_events(tmp_path: Path, uploads: Path) -> None:
    (uploads / "old.txt").write_text("old")
    async with running(tmp_path, Drop(bucket="uploads")) as house:
        await house.known()
        (uploads / "new.txt").write_text("new")
        assert await house.happened(1) == ["ObjectCreated:Put new.txt"]
        (uploads / "old.txt").write_text("changed")
        assert await house.happened(1) == ["ObjectCreated:Put old.txt"]


async def test_a_file_dropped_while_the_server_starts_is_an_event(tmp_path: Path, uploads: Path) -> None:
    (uploads / "old.txt").write_text("old")
    await asyncio.to_thread(wait_for_another_file_time, tmp_path)
    # dropped after the source was made, before it gets to run
    async with running(tmp_path, Drop(bucket="uploads")) as house:
        await asyncio.to_thread(wait_for_another_file_time, tmp_path)
        (uploads / "early.txt").write_text("x")
        assert await house.happened(1) == ["ObjectCreated:Put early.txt"]


def wait_for_another_file_time(folder: Path) -> None:
    """File times are those of the kernel's last tick; let one pass."""
    now, probe = time.time_ns(), folder / "probe"
    while True:
        probe.write_text("x")
        if probe.stat().st_ctime_ns > now:
            return


async def test_what_happened_while_the_server_was_down_is_told_at_the_start(tmp_path: Path, uploads: Path) -> None:
    for name in ("same", "replaced", "deleted"):
        (uploads / name).write_text(name)
    async with running(tmp_path, Drop(bucket="uploads")) as house:
        await house.known()
    (uploads / "replaced").write_text("replaced by this")
    (uploads / "deleted").unlink()
    (uploads / "dropped").write_text("x")

    async with running(tmp_path, Drop(bucket="uploads")) as house:
        assert sorted(await house.happened(3)) == ["ObjectCreated:Put dropped", "ObjectCreated:Put replaced", "ObjectRemoved:Delete deleted"]
    # and nothing twice
    async with running(tmp_path, Drop(bucket="uploads")) as house:
        (uploads / "last").write_text("x")
        assert await house.happened(1) == ["ObjectCreated:Put last"]


async def told_of_a(tmp_path: Path, uploads: Path) -> None:
    """A server takes in what is there, tells of one file more, and ends."""
    (uploads / "old.txt").write_text("old")
    async with running(tmp_path, Drop(bucket="uploads")) as house:
        await house.known()
        (uploads / "a.txt").write_text("x")
        await house.happened(1)


async def test_a_folder_that_was_copied_as_a_whole_is_not_told_again(tmp_path: Path, uploads: Path) -> None:
    await told_of_a(tmp_path, uploads)
    # other inodes, the same times and contents
    shutil.copytree(uploads, tmp_path / "copy")
    shutil.rmtree(uploads)
    (tmp_path / "copy").rename(uploads)

    async with running(tmp_path, Drop(bucket="uploads")) as house:
        (uploads / "b.txt").write_text("x")
        assert await house.happened(1) == ["ObjectCreated:Put b.txt"]


# ---- where buckets are -----------------------------------------------------------------------------------------------

async def test_without_a_folder_beside_the_functions_a_bucket_is_under_the_data_folder(tmp_path: Path) -> None:
    async with running(tmp_path, Drop(bucket="inbox")) as house:
        await house.known("inbox")
        assert house.buckets.places() == {"inbox": tmp_path / "data" / "buckets" / "inbox"}
        (tmp_path / "data" / "buckets" / "inbox" / "a.txt").write_text("x")
        assert await house.happened(1) == ["ObjectCreated:Put a.txt"]


async def test_a_folder_made_beside_the_functions_is_used_from_then_on(tmp_path: Path) -> None:
    async with running(tmp_path, Drop(bucket="uploads")) as house:
        await house.known()
        (tmp_path / "data" / "buckets" / "uploads" / "a.txt").write_text("x")
        assert await house.happened(1) == ["ObjectCreated:Put a.txt"]
        (house.folder / "uploads").mkdir()
        (house.folder / "uploads" / "b.txt").write_text("x")
        # nobody deleted a.txt
        assert await house.happened(1) == ["ObjectCreated:Put b.txt"]


def move_away(folder: Path) -> None:
    folder.rename(folder.parent.parent / "elsewhere")


def put_a_file_there(folder: Path) -> None:
    move_away(folder)
    folder.write_text("no folder")


def remove(path: Path) -> None:
    if path.is_file():
        path.unlink()


@pytest.mark.parametrize("lose", [move_away, put_a_file_there])
async def test_a_folder_that_is_gone_deletes_nothing_and_is_followed_on_when_it_is_there_again(
    house: House, tmp_path: Path, uploads: Path, lose: Callable[[Path], None],
) -> None:
    for name in ("a.txt", "b.txt", "c.txt"):
        (uploads / name).write_text("x")
    await house.happened(3)
    lose(uploads)
    await until(house.warned)
    assert house.said[0].startswith(f"Warning: bucket uploads has lost its folder: there is no {uploads}. Nothing in it is taken for deleted")
    # what differs when it comes back is all that happens
    (tmp_path / "elsewhere" / "b.txt").unlink()
    (tmp_path / "elsewhere" / "c.txt").write_text("another")
    (tmp_path / "elsewhere" / "d.txt").write_text("x")
    remove(uploads)
    (tmp_path / "elsewhere").rename(uploads)
    assert sorted(await house.happened(3)) == ["ObjectCreated:Put c.txt", "ObjectCreated:Put d.txt", "ObjectRemoved:Delete b.txt"]
    assert await nothing_more(house, uploads)
    assert len(house.said) == 1
    assert not house.buckets.own("uploads").exists()


COPY = """
import json, os, pathlib
from microlam import on_file

@on_file("out")
def handler(event, context):
    if "Records" in event:
        return [f"{record['eventName']} {record['s3']['object']['key']}" for record in event["Records"]]
    out = pathlib.Path(json.loads(os.environ["MICROLAM_BUCKETS"])["out"])
    out.mkdir(parents=True, exist_ok=True)
    (out / event["key"]).write_text("x")
    return str(out)
"""


@pytest.mark.parametrize("beside", [True, False])
async def test_a_handler_that_writes_to_a_bucket_that_has_lost_its_folder_brings_it_back(tmp_path: Path, beside: bool) -> None:
    folder = tmp_path / "functions"
    told: list[str] = []
    words: list[str] = []
    out = folder / "out" if beside else tmp_path / "data" / "buckets" / "out"
    out.mkdir(parents=True)
    folder.mkdir(exist_ok=True)
    (folder / "copy.py").write_text(COPY)

    async def happened(*events: str) -> None:
        async def all_told() -> bool:
            return len(told) >= len(events)
        await until(all_told)
        assert sorted(told) == sorted(events)
        told.clear()

    async with Microlam(folder, data=tmp_path / "data", endpoint_url="http://127.0.0.1:1", say=words.append) as lam:
        lam.invoker.ended.append(lambda invocation, outcome: told.extend(json.loads(outcome.payload)) if invocation.cause == "file" else None)
        assert json.loads((await lam.invoke("copy", {"key": "one"})).payload) == str(out)
        await happened("ObjectCreated:Put one")
        out.rename(tmp_path / "elsewhere")
        await lam.functions.look()
        assert json.loads((await lam.invoke("copy", {"key": "two"})).payload) == str(out)
        # the folder that it has made holds only what it wrote
        await happened("ObjectCreated:Put two", "ObjectRemoved:Delete one")
        assert sorted(path.name for path in out.iterdir()) == ["two"]
        assert not [sentence for sentence in words if "new code" in sentence]


async def test_a_folder_that_is_made_again_empty_says_that_its_files_are_deleted(house: House, uploads: Path) -> None:
    (uploads / "a.txt").write_text("x")
    await house.happened(1)
    shutil.rmtree(uploads)
    await until(house.warned)
    uploads.mkdir()
    assert await house.happened(1) == ["ObjectRemoved:Delete a.txt"]
    (uploads / "b.txt").write_text("x")
    assert await house.happened(1) == ["ObjectCreated:Put b.txt"]
    # one that holds nothing may go: the next is under the data folder
    (uploads / "b.txt").unlink()
    assert await house.happened(1) == ["ObjectRemoved:Delete b.txt"]
    uploads.rmdir()
    own = house.buckets.own("uploads")
    await until(lambda: asyncio.to_thread(own.is_dir))
    (own / "c.txt").write_text("x")
    assert await house.happened(1) == ["ObjectCreated:Put c.txt"]


async def test_a_folder_that_is_not_there_at_the_start_deletes_nothing(tmp_path: Path, uploads: Path) -> None:
    await told_of_a(tmp_path, uploads)
    # given another --buckets, in which there is no such folder
    async with running(tmp_path, Drop(bucket="uploads"), folder=tmp_path / "typo") as house:
        await until(house.warned)
        assert f"bucket uploads has lost its folder: there is no {tmp_path / 'typo' / 'uploads'} (it was {uploads} before)." in house.said[0]
        assert house.buckets.places() == {"uploads": tmp_path / "typo" / "uploads"}
    (uploads / "b.txt").write_text("x")
    async with running(tmp_path, Drop(bucket="uploads")) as house:
        assert await house.happened(1) == ["ObjectCreated:Put b.txt"]
        assert (await nothing_more(house, uploads), house.said) == (True, [])
    # and that of the data folder
    async with running(tmp_path, Drop(bucket="inbox")) as house:
        await house.known("inbox")
        (house.buckets.own("inbox") / "a.txt").write_text("x")
        await house.happened(1)
        own = house.buckets.own("inbox")
    own.rename(tmp_path / "inbox")
    async with running(tmp_path, Drop(bucket="inbox")) as house:
        await until(house.warned)
        (tmp_path / "inbox").rename(own)
        assert await nothing_more(house, own)


async def test_a_data_folder_that_was_moved_as_a_whole_is_followed_on(tmp_path: Path) -> None:
    root, moved = tmp_path / "before", tmp_path / "after"
    root.mkdir()
    async with running(root, Drop(bucket="inbox")) as house:
        await house.known("inbox")
        (house.buckets.own("inbox") / "a.txt").write_text("x")
        await house.happened(1)
    root.rename(moved)
    async with running(moved, Drop(bucket="inbox")) as house:
        (house.buckets.own("inbox") / "b.txt").write_text("x")
        assert await house.happened(1) == ["ObjectCreated:Put b.txt"]
        assert house.said == []


async def test_a_folder_made_beside_the_functions_while_the_server_was_down_deletes_nothing(tmp_path: Path) -> None:
    async with running(tmp_path, Drop(bucket="uploads")) as house:
        await house.known()
        (house.buckets.own("uploads") / "a.txt").write_text("x")
        await house.happened(1)
    uploads = house.folder / "uploads"
    uploads.mkdir()
    (uploads / "b.txt").write_text("x")
    async with running(tmp_path, Drop(bucket="uploads")) as house:
        assert await house.happened(1) == ["ObjectCreated:Put b.txt"]
        assert await nothing_more(house, uploads)


async def test_a_bucket_listened_to_later_is_not_told_of_what_was_before(tmp_path: Path, uploads: Path) -> None:
    (uploads / "old.txt").write_text("old")
    async with running(tmp_path) as house:
        await asyncio.to_thread(wait_for_another_file_time, tmp_path)
        house.listen(Drop(bucket="uploads"))
        await house.known()
        (uploads / "a.txt").write_text("x")
        assert await house.happened(1) == ["ObjectCreated:Put a.txt"]
        # nobody listens for a while
        house.listen()
        await until(house.follows_nothing)
        (uploads / "b.txt").write_text("x")
        await asyncio.to_thread(wait_for_another_file_time, tmp_path)
        house.listen(Drop(bucket="uploads"))
        await until(lambda: house.has("b.txt"))
        (uploads / "c.txt").write_text("x")
        assert await house.happened(1) == ["ObjectCreated:Put c.txt"]


async def test_nobody_waits_for_a_folder_that_is_followed_no_longer(house: House, uploads: Path) -> None:
    follower = Follower("uploads", uploads, house.buckets, SystemClock(), quiet=QUIET, say=house.said.append)
    waiting = asyncio.create_task(follower.caught_up())
    await asyncio.sleep(0)      # it waits
    follower.stop()
    await follower.run(taken_in_before=None)
    done, _ = await asyncio.wait({waiting}, timeout=PATIENCE)
    assert waiting in done


@pytest.mark.parametrize("name", ["uploads", "in", "My_Files", "a.b-c", "9", "x" * 63])
def test_names_that_a_bucket_may_have(name: str) -> None:
    check_bucket(name)


@pytest.mark.parametrize("name", ["", ".", "..", ".git", "a/b", "a b", "-a", "ä", "x" * 64, "a\n"])
def test_names_that_no_bucket_may_have(name: str) -> None:
    with pytest.raises(InvalidParameter, match="cannot be a bucket: use up to 63 letters"):
        check_bucket(name)


# ---- many ------------------------------------------------------------------------------------------------------------

async def test_ten_thousand_files_at_once_are_all_told_and_none_twice(house: House, uploads: Path) -> None:
    names = [f"{number % 20:02}/{number:05}.txt" for number in range(10_000)]
    for folder in {name[:2] for name in names}:
        (uploads / folder).mkdir()

    def write(drop: Callable[[Path], object]) -> None:
        for name in names:
            drop(uploads / name)

    await asyncio.to_thread(write, lambda path: path.write_bytes(b"x"))
    assert sorted(await house.happened(10_000)) == [f"ObjectCreated:Put {name}" for name in sorted(names)]
    await asyncio.to_thread(write, Path.unlink)
    assert sorted(await house.happened(10_000)) == [f"ObjectRemoved:Delete {name}" for name in sorted(names)]
    assert await house.store.objects("uploads") == {}
    assert await nothing_more(house, uploads)


async def nothing_more(house: House, uploads: Path) -> bool:
    """Whether the next event is that of a file dropped now."""
    (uploads / "last.txt").write_text("x")
    last: Sequence[str] = await house.happened(1)
    return last == ["ObjectCreated:Put last.txt"]
