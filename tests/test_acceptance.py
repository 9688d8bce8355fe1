"""What a person may rely on, item by item, and the tests that hold it.

One table for the whole of the command line, the dashboard, the pages and the doors. A test that is renamed or
removed without a successor here fails this module, so that no promise loses its proof unseen.
"""

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent

ACCEPTANCE: dict[str, tuple[str, ...]] = {
    "1 status is light: 150 ms, 25 MB, none of the heavy libraries": (
        "launcher/test_cli.py::test_status_is_quick",
        "launcher/test_cli.py::test_status_is_small",
        "launcher/test_cli.py::test_light_verbs_stay_light",
    ),
    "2 a taken port: exit 5 at once, pid and command named, nothing spawned": (
        "launcher/commands/error_catalogue/test_environment_errors.py::test_every_taken_port_is_named",
        "integration/test_up_and_down.py::test_a_taken_fixed_port_names_its_holder",
    ),
    "3 several mistakes in the file: each with line, column and caret; a running stack untouched": (
        "launcher/commands/error_catalogue/test_config_errors.py::test_several_mistakes_at_once",
        "integration/test_up_and_down.py::test_three_mistakes_are_reported_at_once",
        "integration/test_up_and_down.py::test_a_bad_file_leaves_a_running_stack_alone",
    ),
    "4 a killed supervisor is back by itself; of both killed nothing is left, and the next up works": (
        "integration/test_deaths.py::test_supervisor_dies_and_nobody_notices",
        "integration/test_deaths.py::test_guardian_dies_and_the_stack_is_back",
        "integration/test_deaths.py::test_both_die_and_nothing_is_left",
        "integration/test_faults.py::test_nothing_is_left_of_a_stack_whose_heads_are_killed",
        "launcher/commands/error_catalogue/test_running_errors.py::test_a_stale_socket_is_no_error",
    ),
    "5 a crash loop: never shown ready, counted down, explained with its last words, given up at the limit": (
        "launcher/commands/error_catalogue/test_running_errors.py::test_a_crash_loop",
        "integration/test_faults.py::test_a_crash_loop_is_given_up_and_explained",
        "terminal/test_first_minute.py::test_a_service_that_cannot_start",
    ),
    "6 logs -f across three restarts: no line lost, three markers": (
        "terminal/test_logs_follow.py::test_no_line_is_lost_across_three_restarts",
        "launcher/commands/test_logs.py::test_following_across_restart_and_rotation",
    ),
    "7 a stopped viewer slows no child and swells no supervisor": (
        "terminal/test_dashboard_screens.py::test_a_stopped_dashboard_slows_no_child",
        "terminal/test_dashboard_screens.py::test_a_terminal_that_takes_nothing_slows_no_child",
        "integration/test_control.py::test_slow_subscriber_costs_nothing",
    ),
    "8 no terminal, or a dumb one: not one escape code unless colour is forced": (
        "terminal/test_first_minute.py::test_a_dumb_terminal_gets_not_one_escape_code",
        "terminal/test_dashboard_ends.py::test_no_full_screen_where_it_cannot_be",
        "launcher/commands/test_status.py::test_no_escape_codes_without_a_terminal",
        "launcher/terminal/test_output.py::test_colour",
    ),
    "9 NO_COLOR: no escape code; every JSON document is as its schema says": (
        "terminal/test_first_minute.py::test_no_color_on_a_terminal",
        "terminal/test_dashboard_screens.py::test_no_color_means_no_color",
        "launcher/commands/test_schemas.py::test_without_a_stack",
        "launcher/commands/test_schemas.py::test_with_a_stack",
        "integration/test_documents.py::test_status_and_events_of_a_stack_in_several_states",
    ),
    "10 the dashboard in every size and through a storm of sizes": (
        "terminal/test_dashboard_screens.py::test_every_size_shows_services_log_and_keys",
        "terminal/test_dashboard_screens.py::test_a_resize_storm_ends_in_a_whole_screen",
        "launcher/dashboard/test_app.py::test_narrower_layouts",
        "launcher/dashboard/test_app.py::test_a_tiny_terminal_has_a_note_instead_of_the_log",
    ),
    "11 a crash of the dashboard: exit code not 0, services up, terminal sane": (
        "terminal/test_dashboard_ends.py::test_a_crash_is_loud_and_harms_nothing",
        "launcher/dashboard/test_app.py::test_a_crash_has_a_bad_exit_code",
    ),
    "12 readyz 503 with its phase while loading; healthz 200": (
        "servers/test_http_routes.py::test_health_is_ok_while_loading_and_ready_is_not",
        "browser/test_reasons.py::test_a_loading_server_is_shown_with_phase_and_progress",
    ),
    "13 the OpenAI clients of Python and npm get the right vectors by default": (
        "servers/inference/test_openai_clients.py::test_the_synchronous_sdk_gets_the_same",
        "servers/inference/test_openai_clients.py::test_the_sdk_of_npm_gets_the_same",
        "servers/inference/test_openai.py::test_the_sdk_s_default_base64_and_floats_give_the_same_vectors",
    ),
    "14 LangChain's default is refused with the cure in the text": (
        "servers/inference/test_openai_clients.py::test_langchain_with_its_default_is_told_the_cure",
        "servers/inference/test_openai_clients.py::test_langchain_works_with_the_cure",
    ),
    "15 MCP: the tools of the contract for every client; foreign Host 421, foreign Origin 403": (
        "servers/memory/test_mcp_door.py::test_the_tools_are_those_of_the_contract",
        "servers/memory/test_mcp_door.py::test_origin_and_host_are_judged_as_on_every_door",
    ),
    "16 origins: foreign refused on every path, none and loopback accepted, null only stats": (
        "servers/test_asgi.py::test_every_path_upgrades_with_and_without_origin",
        "servers/test_asgi.py::test_a_foreign_page_is_refused_on_every_door",
        "servers/test_asgi.py::test_a_page_without_origin_gets_stats_only",
        "servers/test_asgi.py::test_the_token_opens_and_its_absence_does_not",
    ),
    "17 the page through a tunnel, from one origin only, and markup shown as characters": (
        "browser/test_reasons.py::test_another_address_can_be_given_for_a_tunnel",
        "browser/test_foreign_pages.py::test_markup_in_a_memory_is_shown_as_characters",
        "servers/test_console.py::test_the_pages_refer_to_served_files_only",
    ),
    "18 a GPU that is not there: exit 6 with the fix": (
        "launcher/commands/error_catalogue/test_environment_errors.py::test_a_gpu_that_is_not_there",
        "launcher/commands/error_catalogue/test_environment_errors.py::test_a_gpu_that_is_full",
    ),
    "19 the upstream test page, from a file and from 8081; every upstream example has one reply, in order": (
        "browser/test_foreign_pages.py::test_a_page_from_a_file_gets_its_stats_and_nothing_else",
        "integration/test_faults.py::test_the_seed_examples_over_every_kind_of_client",
        "integration/test_faults.py::test_one_connection_gets_its_replies_in_order",
    ),
    "20 all of it without a GPU: a stand-in for the driver, an engine without a model": (
        "integration/test_gpus.py::test_a_child_is_pinned_by_identifier_and_its_memory_is_shown",
        "integration/test_up_and_down.py::test_up_brings_both_servers_to_ready",
    ),
}


@cache
def names_in(path: Path) -> frozenset[str]:
    """The names of the test functions of a module."""
    tree = ast.parse(path.read_text("utf-8"))
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return frozenset(node.name for node in functions if node.name.startswith("test_"))


@pytest.mark.parametrize("item", ACCEPTANCE, ids=lambda item: item.split(":")[0])
def test_every_promise_is_held(item: str) -> None:
    """By at least one test, and every test that is named exists."""
    held_by = ACCEPTANCE[item]
    assert held_by
    for place in held_by:
        file, _, name = place.partition("::")
        assert (ROOT / file).is_file(), place
        assert name in names_in(ROOT / file), place


def test_the_list_is_whole() -> None:
    """Twenty items, in their order."""
    assert [item.split(" ")[0] for item in ACCEPTANCE] == [str(number) for number in range(1, 21)]
