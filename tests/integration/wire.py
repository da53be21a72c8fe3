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

from edge.mqtt import MqttPublisher
from tests.integration.broker import Broker, Subscriber
from tests.integration.home import decision, ids, publisher

CHILD = """
import sys, time
from tests.integration.home import decision, publisher
with publisher(int(sys.argv[1])) as subject:
    first, second = decision(), decision(lifetime_s=1.0)
    subject.publish_decision(first)
    while subject.counters.confirmed < 1:
        time.sleep(0.001)
    import subprocess
    subprocess.run(["ip", "link", "set", "lo", "down"], check=True)
    subject.publish_decision(second)
    time.sleep(0.3)
    print(second.id, flush=True)
    time.sleep(60)
"""


def plug(state: str) -> None:
    subprocess.run(["ip", "link", "set", "lo", state], check=True)


def cut_under(subject: MqttPublisher, listener: Subscriber) -> dict[str, str]:
    first, doomed, patient = decision(), decision(lifetime_s=1.0), decision(lifetime_s=30)
    subject.publish_decision(first)
    listener.wait_for("/decision")
    # The broker answered just now, so the next one is written to the socket at once.
    plug("down")
    subject.publish_decision(doomed)
    time.sleep(2)
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
    time.sleep(2)
    plug("up")
    return {"orphan": orphan}


def main() -> None:
    plug("up")
    folder = Path(tempfile.mkdtemp())
    with Broker(folder) as broker, Subscriber(broker) as listener:
        with publisher(broker.port) as subject:
            made = cut_under(subject, listener)
        made |= cut_and_kill(broker)
        # The kernel's next attempt to send what it still has comes within this time: it doubles
        # its waits from 0.2 s on, and the cut lasted 2.3 s.
        time.sleep(4)
        listener.ready_again()
        print(json.dumps({"made": made, "arrived": ids(listener)}))


if __name__ == "__main__":
    main()
