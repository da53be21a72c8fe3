"""Run in a network of its own: pulls the plug under a decision, and prints what arrived.

Prints JSON: the ids that were published by name, and the ids that arrived.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import edge.mqtt.publisher
from edge.mqtt import MqttPublisher
from tests.integration.broker import Broker, Subscriber
from tests.integration.home import decision, ids, publisher
from tests.integration.waiting import settled

LIFETIME_S = 3.0
"""Of the decisions that are cut off."""
_FIN_WAIT = "04"
CHILD = """
import signal, sys
from tests.integration.home import decision, publisher
from tests.integration.waiting import settled
from tests.integration.wire import LIFETIME_S, plug, sent_at_once, underway
sent_at_once()
with publisher(int(sys.argv[1])) as subject:
    first, second = decision(), decision(lifetime_s=LIFETIME_S)
    subject.publish_decision(first)
    assert settled(lambda: subject.counters.confirmed == 1)
    plug("down")
    subject.publish_decision(second)
    assert settled(lambda: underway(int(sys.argv[1])) > len(second.to_json()))
    print(second.id, flush=True)
    signal.pause()
"""


def plug(state: str) -> None:
    subprocess.run(["ip", "link", "set", "lo", state], check=True)


def sent_at_once() -> None:
    """Have decisions written to the socket without asking the broker first."""
    edge.mqtt.publisher._FRESH_S = 3600.0


def underway(port: int, state: str = "") -> int:
    """Bytes that this machine has still to send to a port, over connections in a state."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    lines = [row for row in rows if row[2] == f"0100007F:{port:04X}" and row[3].startswith(state)]
    return sum(int(row[4].partition(":")[0], 16) for row in lines)


def cut_under(broker: Broker, subject: MqttPublisher, listener: Subscriber) -> dict[str, str]:
    first, doomed, patient = decision(), decision(lifetime_s=LIFETIME_S), decision()
    subject.publish_decision(first)
    listener.wait_for("/decision")
    assert settled(lambda: subject.counters.confirmed == 1)
    plug("down")
    subject.publish_decision(doomed)
    assert settled(lambda: underway(broker.port) > len(doomed.to_json()))
    assert settled(lambda: subject.counters.dropped == 1)
    subject.publish_decision(patient)
    plug("up")
    listener.wait_for("/decision", lambda got: got["id"] == patient.id)
    return {"first": first.id, "doomed": doomed.id, "patient": patient.id}


def cut_and_kill(broker: Broker) -> dict[str, str]:
    command = [sys.executable, "-c", CHILD, str(broker.port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        orphan = child.stdout.readline().strip()
        child.send_signal(signal.SIGKILL)
    # The kernel goes on alone, but not for longer than the decision lives.
    over = time.monotonic() + LIFETIME_S + 1.0
    assert settled(lambda: not underway(broker.port, _FIN_WAIT) or time.monotonic() > over)
    plug("up")
    assert settled(lambda: not underway(broker.port, _FIN_WAIT))
    return {"orphan": orphan}


def main() -> None:
    sent_at_once()
    plug("up")
    folder = Path(tempfile.mkdtemp())
    with Broker(folder) as broker, Subscriber(broker) as listener:
        with publisher(broker.port) as subject:
            made = cut_under(broker, subject, listener)
        made |= cut_and_kill(broker)
        with publisher(broker.port) as subject:
            last = decision()
            subject.publish_decision(last)
            listener.wait_for("/decision", lambda got: got["id"] == last.id)
        print(json.dumps({"made": made, "arrived": ids(listener)}))


if __name__ == "__main__":
    main()
