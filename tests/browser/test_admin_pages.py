"""What somebody does with the admin, in a real browser."""
from __future__ import annotations

import json
import re
from importlib import resources
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlencode

from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import Open
from tests.conftest import WAIT, Serve, Server, until

expect.set_options(timeout=WAIT * 1000)


def post(server: Server, path: str, body: bytes = b"{}") -> str:
    """Invoke over HTTP; gives the invocation's id."""
    reply = server.request("POST", path, body, {"Content-Type": "application/json"})
    return str(reply.headers["x-amzn-RequestId"])


def save(server: Server, files: dict[str, str]) -> None:
    """Write functions, and wait until they are known."""
    server.write(files)
    known = [f"/_microlam/functions/{name.removesuffix('.py')}.json" for name in files]
    until(lambda: all(server.get(address).status == 200 for address in known), f"for {files}")


def act(server: Server, path: str, **form: str) -> Any:
    """Do what a form of the admin does, as a program."""
    reply = server.request("POST", f"/_microlam/{path}", urlencode(form).encode(), {"Authorization": "Bearer of a program"})
    assert reply.status == 200, reply.text
    return reply.json()


# ---- live ------------------------------------------------------------------------------------------------------------

def test_a_save_that_breaks_a_function_is_seen_without_a_reload_and_so_is_its_mending(server: Server, open_page: Open) -> None:
    server.write({"fragile.py": "def handler(event, context): return 1\n"})
    page = open_page()
    expect(page.locator("#functions")).to_contain_text("fragile")
    server.get("/fragile")
    server.write({"fragile.py": "import nothing_of_that_name\ndef handler(event, context): return 2\n"})
    alarm = page.locator(".alarm")
    expect(alarm).to_contain_text("fragile: Runtime.ImportModuleError")
    expect(alarm).to_contain_text("No module named 'nothing_of_that_name'")
    server.write({"fragile.py": "def handler(event, context): return 3\n"})
    expect(alarm).to_have_count(0)


def test_invocations_appear_as_they_end_and_wait_while_somebody_reads(server: Server, open_page: Open) -> None:
    page = open_page("invocations?function=hello")
    expect(page.locator("[data-state]")).to_have_text("live")
    server.get("/hello?name=Ada")
    expect(page.locator("tr.fresh")).to_contain_text("GET /hello → 200")
    expect(page.locator("#tail tbody .none")).to_have_count(0)
    first = page.locator("#tail td.what a").first
    first.hover()
    server.get("/hello?name=Bob")
    newer = page.locator(".newer button")
    expect(newer).to_have_text("1 new")
    expect(page.locator("#tail tbody tr")).to_have_count(1)
    newer.click()
    expect(page.locator("#tail tbody tr")).to_have_count(2)
    post(server, "/orders/1")       # of another function: not in this list
    server.get("/hello?name=Eve")
    expect(page.locator("#tail, .newer").filter(has_text="new").or_(page.locator("#tail tbody tr").nth(2)).first).to_be_visible()
    expect(page.locator("#tail")).not_to_contain_text("orders")


# ---- versions --------------------------------------------------------------------------------------------------------

def test_the_observed_split_follows_the_slider(server: Server, open_page: Open) -> None:
    for number in (1, 2):
        save(server, {"split.py": f"def handler(event, context): return {number}\n"})
        assert act(server, "functions/split/publish")["version"] == str(number)
    page = open_page("functions/split/versions")
    page.get_by_text("Create or move an alias").click()
    page.get_by_label("Alias").fill("live")
    page.locator("select[name=number]").select_option("1")
    page.get_by_role("button", name="Set").click()
    expect(page.get_by_role("status")).to_have_text("live is version 1.")
    page.get_by_label("gets %").fill("0")
    page.get_by_role("button", name="Begin").click()

    client = server.client()

    def share() -> str:
        weights = client.get_alias(FunctionName="split", Name="live").get("RoutingConfig", {}).get("AdditionalVersionWeights", {})
        return f"{100 * weights.get('2', 0):.0f} %"

    observed = page.locator("tr[data-version='2'] [data-observed]")
    for weight, key in (("100 %", "End"), ("0 %", "Home")):
        slider = page.get_by_role("slider")
        slider.press(key)
        until(lambda weight=weight: share() == weight, f"for {weight}")  # type: ignore[misc]
        for _ in range(20):
            client.invoke(FunctionName="split", Qualifier="live", Payload=b"{}")
        expect(page.locator("tr[data-version='2'] td").nth(1)).to_have_text(weight)
        expect(observed).to_have_text(weight)
        expect(page.locator("tr[data-version='2'] td").nth(3)).to_have_text("20" if weight == "100 %" else "0")

    page.get_by_role("button", name="Promote 2").click()
    expect(page.get_by_role("status")).to_have_text("Promoted: live is version 2.")
    page.get_by_role("button", name="Roll back").click()
    expect(page.get_by_role("status")).to_have_text("Rolled back: live is version 1.")
    page.get_by_role("link", name="History").click()
    promoted = page.locator("tr", has_text="promoted")
    expect(promoted).to_contain_text("admin")
    promoted.get_by_role("button", name="Take back").click()
    expect(page.locator("tbody tr").first).to_contain_text("changed")
    page.get_by_role("link", name="Versions and aliases").click()
    expect(page.locator("#alias-live")).to_contain_text("canary")


def test_code_is_shown_in_colour_and_compared(server: Server, open_page: Open) -> None:
    save(server, {"coded.py": "def handler(event, context):\n    return 'before'\n"})
    act(server, "functions/coded/publish")
    server.write({"coded.py": "def handler(event, context):\n    return 'after'\n"})
    page = open_page("functions/coded/code?version=1")
    expect(page.locator(".numbered .k").first).to_have_text("def")
    page.locator("select[name=against]").select_option("1")
    expect(page.locator(".empty")).to_contain_text("No difference")
    page.locator("select[name=version]").select_option("folder")
    expect(page.locator("tr.add")).to_contain_text("return 'after'")
    expect(page.locator("tr.del")).to_contain_text("return 'before'")


def test_what_is_chosen_before_the_script_has_come_counts(server: Server, open_page: Open) -> None:
    for word in ("then", "now"):
        save(server, {"early.py": f"def handler(event, context):\n    return '{word}'\n"})
        act(server, "functions/early/publish")
    act(server, "functions/early/aliases", alias="live", number="1")
    act(server, "functions/early/aliases/live/weight", other="2", weight="0")
    page = open_page("functions/early/versions")
    script: list[Route] = []
    page.route("**/admin.js*", lambda route: script.append(route))

    page.goto(f"{server.url}/_microlam/functions/early/versions", wait_until="commit")
    page.get_by_role("slider").press("End")
    script.pop().continue_()
    expect(page.locator("tr[data-version='2'] td").nth(1)).to_have_text("100 %")

    page.goto(f"{server.url}/_microlam/functions/early/code?version=1", wait_until="commit")
    page.locator("select[name=against]").select_option("2")
    script.pop().continue_()
    expect(page.locator("tr.del")).to_contain_text("return 'now'")


# ---- the record ------------------------------------------------------------------------------------------------------

def test_replay_edit_and_compare(server: Server, open_page: Open) -> None:
    client = server.client()
    for number in (1, 2):
        save(server, {"twice.py": f"import json\ndef handler(event, context):\n    print('take {number}')\n    return {{'q': event['q'] * {number}}}\n"})
        act(server, "functions/twice/publish")
    id = client.invoke(FunctionName="twice", Payload=b'{"q": 21}')["ResponseMetadata"]["RequestId"]
    page = open_page(f"invocations/{id}")
    page.locator("select[name=target]").select_option("1")
    page.get_by_role("button", name="Replay", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("replay of invoke")
    expect(page.get_by_label("Reply")).to_contain_text('"q": 21')
    page.get_by_role("link", name="invoked").click()
    expect(page.locator("dd", has_text="replay of invoke")).to_have_count(1)

    page.get_by_role("link", name="Edit and replay").click()
    page.get_by_label("Event").fill('{"q": 50}')
    page.get_by_role("button", name="Replay").click()
    expect(page.get_by_label("Reply")).to_contain_text('"q": 100')

    page.goto(f"{server.url}/_microlam/invocations/{id}")
    page.get_by_text("Compare two versions").click()
    page.locator("select[name=one]").select_option("1")
    page.locator("select[name=other]").select_option("2")
    page.get_by_role("button", name="Replay on both").click()
    expect(page.get_by_label("Differences of the reply").locator("tr.del")).to_contain_text('"q": 21')
    expect(page.get_by_label("Differences of the reply").locator("tr.add")).to_contain_text('"q": 42')
    expect(page.get_by_label("Log of 2, right")).to_have_text("take 2")


def test_search_finds_what_a_handler_logged_and_a_filter_is_a_link(server: Server, open_page: Open) -> None:
    post(server, "/orders/4711")
    page = open_page()
    page.keyboard.press("/")
    page.wait_for_url("**/invocations")
    page.keyboard.press("/")
    page.keyboard.type("4711")
    page.keyboard.press("Enter")
    expect(page.locator("#tail td.what")).to_have_text(["POST /orders/4711 → 201"])
    page.get_by_label("Result").select_option("failed")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator("#tail")).to_contain_text("Nothing on record is like that.")
    kept = page.get_by_role("link", name="Link to this filter").get_attribute("href")
    assert kept is not None
    assert set(kept.lstrip("?").split("&")) == {"q=4711", "status=failed"}


def test_a_bulk_replay_shows_how_far_it_is(server: Server, open_page: Open) -> None:
    for _ in range(3):
        post(server, "/orders/7")
    page = open_page("invocations?function=orders&status=failures&cause=http")
    failed = page.locator("#tail tbody tr").count()
    page.get_by_role("button", name="Replay all that failed").click()
    expect(page.locator("#progress h2").first).to_have_text(f"{failed} of {failed} done")
    expect(page.locator("#progress")).to_contain_text(f"{failed} failed")


def test_an_event_is_saved_and_tested_again(server: Server, open_page: Open) -> None:
    id = post(server, "/orders/12")
    page = open_page(f"invocations/{id}")
    page.get_by_text("Save as test event").click()
    page.get_by_label("Name").fill("a good order")
    page.get_by_role("button", name="Save").click()
    assert json.loads((server.folder / "events" / "a good order.json").read_text())["pathParameters"] == {"id": "12"}
    expect(page.locator("select[name=event]")).to_have_value("a good order")
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("test a good order")
    expect(page.get_by_label("Reply")).to_contain_text('"statusCode": 201')


def test_an_uploaded_file_is_an_event(server: Server, open_page: Open, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("Dear all")
    page = open_page("buckets/uploads")
    page.get_by_label("Files").set_input_files(tmp_path / "letter.txt")
    page.get_by_label("Prefix").fill("post")
    page.get_by_role("button", name="Drop in").click()
    expect(page.get_by_role("status")).to_contain_text("Dropped post/letter.txt")
    row = page.locator("#objects tr", has_text="post/letter.txt")
    expect(row).to_be_visible()
    server.ended(function="seen", cause="file")
    row.get_by_role("link", name="invocations").click()
    page.get_by_role("link", name="uploads/post/letter.txt created").click()
    expect(page.get_by_label("Reply")).to_contain_text('"post/letter.txt"')


def test_a_schedule_is_paused_and_fired(server: Server, open_page: Open) -> None:
    page = open_page("triggers")
    row = page.locator("#schedules tbody tr")
    expect(row.locator("time")).to_have_count(5)
    row.get_by_role("button", name="Pause").click()
    expect(row).to_contain_text("not while paused")
    row.get_by_role("button", name="Resume").click()
    row.get_by_text("Fire as of …").click()
    row.get_by_label("As if it were due at").fill("2026-03-29T02:00:00Z")
    row.get_by_role("button", name="Fire", exact=True).click()
    expect(page.get_by_label("Event")).to_contain_text('"time": "2026-03-29T02:00:00Z"')


# ---- safety ----------------------------------------------------------------------------------------------------------

def test_what_a_handler_logs_and_replies_is_text(server: Server, open_page: Open) -> None:
    id = post(server, "/orders/3")
    page = open_page(f"invocations/{id}")
    expect(page.get_by_label("Log")).to_contain_text("<script>document.title = 'owned'</script>")
    expect(page.get_by_label("Reply")).to_contain_text("<img src=x onerror=alert(1)>")
    expect(page).to_have_title(re.compile("POST /orders/3 → 201"))
    assert page.locator("main script, main img").count() == 0
    expect(page.locator(".log .warning summary")).to_have_text("slow card")
    live = open_page("invocations?function=orders")
    expect(live.locator("[data-state]")).to_have_text("live")
    post(server, "/orders/5")
    expect(live.locator("tr.fresh")).to_be_visible()


def test_a_token_is_asked_for_once_and_the_read_only_one_cannot_change(serve: Serve, open_page: Open) -> None:
    guarded = serve({"hello.py": "def handler(event, context): return 1\n"}, "--admin-token", "s3cret", "--read-only-token", "l00k")
    page = open_page("login", url=guarded.url)
    page.get_by_label("The token").fill("l00k")
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("link", name="Functions", exact=True).click()
    page.get_by_role("link", name="hello", exact=True).click()
    expect(page.locator("main")).to_contain_text("What leads to it")
    expect(page.get_by_role("button", name="Publish version")).to_have_count(0)
    page.get_by_role("button", name="Log out").click()
    page.get_by_label("The token").fill("s3cret")
    page.get_by_role("button", name="Log in").click()
    page.goto(f"{guarded.url}/_microlam/functions/hello")
    page.get_by_role("button", name="Publish version").click()
    expect(page.get_by_role("status")).to_have_text("Published version 1.")
    [cookie] = [cookie for cookie in page.context.cookies() if cookie["name"] == "microlam_session"]
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Strict", "/_microlam")


def test_a_form_without_its_token_is_refused(server: Server, open_page: Open) -> None:
    page = open_page("functions/hello", java_script_enabled=False)
    page.locator("form[action$='/pause']").first.wait_for(state="attached")
    status = page.request.post(f"{server.url}/_microlam/functions/hello/pause", form={"csrf": "made up"}, headers={"Origin": server.url}).status
    assert status == 403
    assert server.get("/hello").status == 200


# ---- without script, with keys, on a phone ---------------------------------------------------------------------------

def test_pages_work_without_script(server: Server, open_page: Open) -> None:
    id = post(server, "/orders/21")
    page = open_page("invocations", java_script_enabled=False)
    page.get_by_label("Search").fill("21")
    page.get_by_label("Function").select_option("orders")
    page.get_by_role("button", name="Filter").click()
    page.get_by_role("link", name="POST /orders/21 → 201").first.click()
    page.wait_for_url(f"**/invocations/{id}")
    page.get_by_role("button", name="Replay", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("replay of POST /orders/21 → 201")
    expect(page.get_by_label("Reply")).to_contain_text("201")
    page.get_by_role("button", name="Dark").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")


def test_keys_lead_through_the_lists(server: Server, open_page: Open) -> None:
    server.get("/hello?name=key")
    page = open_page()
    page.keyboard.press("g")
    page.keyboard.press("i")
    page.wait_for_url("**/invocations")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**/invocations/*-*")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()


PAGES = ("", "functions", "functions/orders", "functions/orders/versions", "functions/orders/code", "functions/orders/test", "functions/orders/changes",
         "invocations", "invocations?status=failed&q=nothing", "triggers", "buckets/uploads", "settings", "nowhere", "login")


def test_every_page_is_accessible_in_either_theme_and_fits_a_phone(server: Server, open_page: Open) -> None:
    act(server, "functions/orders/publish", description="first")
    act(server, "functions/orders/aliases", alias="live", number="1")
    failed, fine = post(server, "/orders/7"), post(server, "/orders/8")
    pages = (*PAGES, f"invocations/{failed}", f"invocations/{fine}", f"invocations/{fine}/replay", f"compare/{failed}/{fine}")
    page, wrong = open_page("settings", quiet=False), []
    for path in pages:
        page.goto(f"{server.url}/_microlam/{path}")
        page.evaluate(AXE)      # by the debugger, past the page's policy
        for width in (1280, 360):
            page.set_viewport_size({"width": width, "height": 800})
            if (beyond := page.evaluate("document.documentElement.scrollWidth - innerWidth")) > 0:
                wrong.append(f"{path} is {beyond} pixels wider than {width}")
            for theme in THEMES:
                page.emulate_media(color_scheme=theme)
                wrong += [f"{path} at {width}, {theme}: {violation}" for violation in violations(page)]
    assert wrong == []


THEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
AXE = resources.files("axe_playwright_python").joinpath("axe.min.js").read_text()


def violations(page: Page) -> list[str]:
    """What axe-core finds wrong with a page as it is shown now, in short."""
    found = page.evaluate("axe.run().then(result => result.violations)")
    return [f"{each['id']}: {each['help']}: {node['html'][:200]} {node.get('failureSummary', '')[:200]}" for each in found for node in each["nodes"][:3]]
