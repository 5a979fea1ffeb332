"""A score to explain."""

from logmlm.records import Event, Fields, LogLine, Score, Window


def score(texts, complete=False, value=2.5, numbered=True, key="req-7"):
    events = []
    for index, text in enumerate(texts):
        line = LogLine(text, "app.log", 100 * index, 100 * index + 90, 0.0, 41 + index * numbered)
        line = line if numbered else LogLine(text, "t/0", index, index + 1, 0.0)
        at = 1_714_979_289.25 + index
        events.append(Event(line, Fields(at, "INFO", text), at, key, "t"))
    window = Window(events[0].line.partition, key, tuple(events), "idle", complete)
    surprisals = tuple(0.5 + i for i in range(len(texts) + complete))
    return Score(window, surprisals, surprisals, value, 0.00123)
