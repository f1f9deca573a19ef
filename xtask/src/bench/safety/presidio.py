"""Runs Microsoft Presidio over texts, one JSON string a line, and prints what it finds, one JSON array a line.

The first line printed is one JSON object: versions, the model, the types it can report. Every predefined recogniser runs
that needs nothing but this process, those that Presidio ships switched off or for another language too: they are told
that the text is English. Scores and thresholds are Presidio's own; nothing is left out for its score.

Offsets are bytes of UTF-8, as those of the gateway; Presidio counts characters.
"""

import importlib.metadata
import inspect
import itertools
import json
import sys

import tldextract
from presidio_analyzer import AnalyzerEngine, BatchAnalyzerEngine, EntityRecognizer, RecognizerRegistry
from presidio_analyzer import predefined_recognizers
from presidio_analyzer.nlp_engine import NlpEngineProvider

LANGUAGE = "en"
BATCH = 64


def main(model):
    engine = analyzer(model)
    batches = BatchAnalyzerEngine(analyzer_engine=engine)
    header = {
        "presidio": importlib.metadata.version("presidio-analyzer"),
        "spacy": importlib.metadata.version("spacy"),
        "model": model,
        "types": sorted(engine.get_supported_entities(LANGUAGE)),
    }
    print(json.dumps(header), flush=True)
    texts = (json.loads(line) for line in sys.stdin)
    while chunk := list(itertools.islice(texts, BATCH)):
        found = batches.analyze_iterator(chunk, LANGUAGE, batch_size=BATCH)
        for text, findings in zip(chunk, found, strict=True):
            print(json.dumps([as_bytes(text, finding) for finding in findings]))
        sys.stdout.flush()


def analyzer(model):
    # As shipped, the e-mail recogniser fetches the list of public suffixes; this takes the copy in its package.
    tldextract.extract = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)
    configuration = {"nlp_engine_name": "spacy", "models": [{"lang_code": LANGUAGE, "model_name": model}]}
    nlp = NlpEngineProvider(nlp_configuration={**shipped_ner(), **configuration}).create_engine()
    registry = RecognizerRegistry(recognizers=list(recognizers()), supported_languages=[LANGUAGE])
    registry.add_nlp_recognizer(nlp_engine=nlp)
    return AnalyzerEngine(registry=registry, nlp_engine=nlp, supported_languages=[LANGUAGE])


def shipped_ner():
    """The mapping of the model's labels that Presidio ships with its default model."""
    default = NlpEngineProvider().nlp_configuration
    return {key: value for key, value in default.items() if key == "ner_model_configuration"}


def recognizers():
    for _, kind in sorted(vars(predefined_recognizers).items()):
        if inspect.isclass(kind) and issubclass(kind, EntityRecognizer) and is_local(kind):
            yield kind(supported_language=LANGUAGE)


def is_local(kind):
    """Neither a remote service nor a model of its own that would have to be fetched."""
    package = kind.__module__.removeprefix(predefined_recognizers.__name__ + ".")
    return package.startswith(("generic.", "country_specific."))


def as_bytes(text, finding):
    start = len(text[: finding.start].encode())
    return {
        "type": finding.entity_type,
        "start": start,
        "end": start + len(text[finding.start : finding.end].encode()),
        "confidence": round(finding.score * 100),
    }


main(sys.argv[1])
