"""Issue delays of LoadGen's own Server test against a system that answers inside the issue call.

usage: python lateness_loadgen.py QUERIES_PER_SECOND SECONDS

Writes LoadGen's logs into the working directory and prints the delay of each query, a line each,
in nanoseconds, as its trace log tells it. Needs the wheel `mlcommons-loadgen`.
"""

import json
import sys

import mlperf_loadgen as lg


def issue(samples):
    lg.QuerySamplesComplete([lg.QuerySampleResponse(sample.id, 0, 0) for sample in samples])


def main():
    rate, seconds = float(sys.argv[1]), float(sys.argv[2])
    settings = lg.TestSettings()
    settings.scenario = lg.TestScenario.Server
    settings.mode = lg.TestMode.PerformanceOnly
    settings.server_target_qps = rate
    settings.min_duration_ms = int(seconds * 1000)
    logs = lg.LogSettings()
    logs.enable_trace = True
    system = lg.ConstructSUT(issue, lambda: None)
    library = lg.ConstructQSL(5000, 1024, lambda samples: None, lambda samples: None)
    lg.StartTestWithLogSettings(system, library, settings, logs, "audit.config")
    lg.DestroyQSL(library)
    lg.DestroySUT(system)
    with open("mlperf_log_trace.json") as trace:
        for line in trace:
            if line.startswith('{"name":"Sample"') and '"ph":"b"' in line:
                print(json.loads(line.rstrip().rstrip(","))["args"]["issue_start_ns"])


if __name__ == "__main__":
    main()
