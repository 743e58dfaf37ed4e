"""Coding agents, without a terminal: how each is started in an empty home, and where it says its answer."""

import base64
import dataclasses
import json
import pathlib
import time

# None of them may report, update itself, or ask for anything but the model.
QUIET = {
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "DISABLE_AUTOUPDATER": "1",
    "DISABLE_ERROR_REPORTING": "1",
    "DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "AIDER_ANALYTICS": "false",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
}


@dataclasses.dataclass
class Place:
    """Where an agent runs."""

    programs: pathlib.Path
    """The folder of its package: `bin` of a virtual environment, or `node_modules`."""
    home: pathlib.Path
    url: str
    """The base URL, without `/v1`."""
    file: str
    prompt: str
    tools: str = ""
    """The base URL of an epitome whose tools the agent gets, as `epitome wrap` would give them."""
    wrapped: bool = False
    """Whether `epitome wrap` starts the agent, and points it at itself."""


SERVER = "epitome_proxy"
"""What `epitome wrap` calls its tools."""


def claude(model: str):
    """Claude Code reads the file with its tool `Read`. In which role it sends its own words depends on the model."""

    def start(place: Place):
        tools = []
        if place.tools:
            servers = {"mcpServers": {SERVER: {"type": "http", "url": f"{place.tools}/mcp"}}}
            tools = [f"--mcp-config={json.dumps(servers)}", f"--allowedTools=mcp__{SERVER}__retrieve"]
        command = [
            place.programs / ".bin" / "claude",
            *tools,
            *("-p", place.prompt),
            *("--allowedTools", "Read"),
            *("--model", model),
            *("--output-format", "json"),
        ]
        return command, {"ANTHROPIC_BASE_URL": place.url, "ANTHROPIC_API_KEY": "sk-ant-test"}

    return start


def claude_answer(output: str):
    result = json.loads(output)
    assert not result["is_error"], result
    return result["result"], result["num_turns"]


def codex(model: str, login: str):
    """Codex reads the file with a shell command. `login` is how it comes to its upstream:

    - `provider`: a provider of the configuration.
    - `key`: the vendor's own provider at another address. It tries a websocket first.
    - `account`: the same, as somebody who is logged in. Its bodies are compressed with zstd.
    """

    def start(place: Place):
        folder = place.home / ".codex"
        folder.mkdir()
        env = {"CODEX_HOME": str(folder)}
        settings = {"check_for_update_on_startup": False, "analytics.enabled": False}
        # What else asks the network for something.
        settings |= {f"features.{name}": False for name in ("apps", "plugins", "remote_plugin", "plugin_sharing")}
        if login == "provider":
            provider = {"name": "test", "base_url": f"{place.url}/v1", "env_key": "TEST_KEY", "wire_api": "responses"}
            settings |= {f"model_providers.test.{name}": value for name, value in provider.items()}
            settings["model_provider"] = "test"
            env["TEST_KEY"] = "sk-test"
        elif place.wrapped:
            # For `epitome wrap`: codex reads no variable.
            env["OPENAI_BASE_URL"] = f"{place.url}/v1"
        else:
            settings["openai_base_url"] = f"{place.url}/v1"
        if place.tools:
            settings[f"mcp_servers.{SERVER}.url"] = f"{place.tools}/mcp"
        if login == "key":
            env["CODEX_API_KEY"] = "sk-test"
        if login == "account":
            settings["chatgpt_base_url"] = f"{place.url}/backend-api"
            (folder / "auth.json").write_text(json.dumps(account()))
        command = [
            place.programs / ".bin" / "codex",
            "exec",
            "--skip-git-repo-check",
            # The only command that it is told to run is the `cat` of our own script.
            "--dangerously-bypass-approvals-and-sandbox",
            *("--model", model),
        ]
        for name, value in settings.items():
            command += ["-c", f"{name}={json.dumps(value)}"]
        return [*command, place.prompt], env

    return start


def account() -> dict:
    """A login that no server has given: two unsigned tokens that are good for a day, and the same all day."""

    def part(value) -> str:
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    now = int(time.time())
    today = now - now % 86_400
    auth = {"chatgpt_plan_type": "pro", "chatgpt_account_id": "account", "chatgpt_user_id": "user"}
    claims = {"iat": today, "exp": today + 2 * 86_400, "email": "a@example.com", "https://api.openai.com/auth": auth}
    token = f"{part({'alg': 'none', 'typ': 'JWT'})}.{part(claims)}.{part(b'unsigned')}"
    return {
        "auth_mode": "chatgpt",
        "OPENAI_API_KEY": None,
        "tokens": {"id_token": token, "access_token": token, "refresh_token": "none", "account_id": "account"},
        "last_refresh": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)),
    }


def codex_answer(output: str):
    return (output.strip(),)


def aider(place: Place):
    """Aider puts the file into its prompt by itself."""
    command = [
        place.programs / "aider",
        *("--model", "openai/gpt-4o-mini"),
        *("--openai-api-base", f"{place.url}/v1"),
        *("--openai-api-key", "sk-test"),
        *("--read", place.file),
        *("--message", place.prompt),
        *("--chat-mode", "ask"),
        "--no-git",
        "--yes-always",
        "--no-pretty",
        "--no-check-update",
        "--analytics-disable",
        "--no-show-release-notes",
        "--no-show-model-warnings",
        "--no-detect-urls",
    ]
    return command, {}


def aider_answer(output: str):
    lines = output.strip().splitlines()
    return (next((line for line in lines if line.startswith(("The serial", "I cannot"))), "\n".join(lines[-3:])),)
