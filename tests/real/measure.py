"""`tollgate bench --write` on two real targets, and what it changes for a running daemon."""

import json
import subprocess
import time
import urllib.request

from daemon import Daemon, binary, wait_until

TASK = "qa"
PRICES = {"whole": "input: 0.02, output: 0.04", "coarse": "input: 0.01, output: 0.02"}


def routes(servers):
    """A pool that goes by scores, and behind it the cheaper target for as long as there are none."""
    def provider(name, server):
        model = f"smollm2: {{ usd_per_mtok: {{ {PRICES[name]} }}, context: 8k, max_output: 4k }}"
        return f"  {name}: {{ format: openai, base_url: {server.url}/v1, models: {{ {model} }} }}\n"

    pool = "{ pick: best, of: [coarse/smollm2, whole/smollm2] }"
    listed = "".join(provider(name, server) for name, server in servers.items())
    return f"include: [evals.yaml]\nproviders:\n{listed}default: {{ chain: [{pool}, coarse/smollm2] }}\n"


def explained(daemon):
    asked = ["--task", TASK, "--prompt-tokens", "60", "--config", str(daemon.file)]
    return subprocess.run([binary(), "explain", *asked], stdout=subprocess.PIPE, text=True, check=True).stdout


def answered_by(daemon):
    """The target that answers a real request for the task."""
    body = {"model": f"auto/{TASK}", "messages": [{"role": "user", "content": "Which river runs through Paris?"}], "max_tokens": 8}
    request = urllib.request.Request(f"{daemon.url}/v1/chat/completions", json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.headers["x-tollgate-target"]


def is_measured(servers):
    """Prints explain before, the report and explain after; whether the better target is picked once it has been measured."""
    daemon = Daemon(routes(servers))
    scores = daemon.file.parent / "evals.yaml"
    scores.write_text("evals: {}\n")
    with daemon:
        before, first = explained(daemon), answered_by(daemon)
        limits = ["--max-requests", "300", "--max-cost", "0.01", "--max-time", "8m", "--max-output-tokens", "64"]
        files = ["--config", str(daemon.file), "--state", str(daemon.file.parent / "bench"), "--write"]
        command = [binary(), "bench", "--targets", "coarse/smollm2,whole/smollm2", *limits, *files]
        began = time.monotonic()
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        print(f"before, answered by {first}:\n{before}\n{done.stdout}\nin {time.monotonic() - began:.0f} s\n{scores.read_text()}", flush=True)
        if done.returncode != 0:
            return False
        wait_until("the daemon follows the scores", lambda: answered_by(daemon) != first)
        print(f"after, answered by {answered_by(daemon)}:\n{explained(daemon)}", flush=True)
        return first == "coarse/smollm2" and answered_by(daemon) == "whole/smollm2"
