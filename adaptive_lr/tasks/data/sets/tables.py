"""Tables: a row of numbers for each example, and a class or a value to predict."""

from __future__ import annotations

from functools import partial

from adaptive_lr.tasks.data import builtin
from adaptive_lr.tasks.data.declaration import AnyDataset, FetchedDataset, InstalledDataset, Part
from adaptive_lr.tasks.data.formats import tables
from adaptive_lr.tasks.data.origins import Debian
from adaptive_lr.tasks.data.splits import RULE, STRATIFIED

SOILS = ("red soil", "cotton crop", "grey soil", "damp grey soil", "vegetation stubble", "very damp grey soil")
STATES = ("Rad.Flow", "Fpv.Close", "Fpv.Open", "High", "Bypass", "Bpv.Close", "Bpv.Open")


def table_parts(rows: int, columns: int, inputs: str, targets: str, *, classes: bool = True) -> tuple[Part, ...]:
    """The parts of a table, each with its checksum."""
    return (
        Part("inputs.npy", "float64", (rows, columns), inputs),
        Part("targets.npy", "int64" if classes else "float64", (rows,), targets),
    )


TABLES: tuple[AnyDataset, ...] = (
    InstalledDataset(
        name="digits",
        title="Digits",
        summary="1 797 handwritten digits, 8x8",
        classes=tuple("0123456789"),
        licence="BSD-3-Clause as packaged",
        reference="Alpaydin and Kaynak 1998, UCI: optical recognition of handwritten digits",
        splits=STRATIFIED,
        package="scikit-learn",
        make=builtin.digits,
        parts=table_parts(
            1797,
            64,
            "20def7f70a702f0af9732fbba4375e147a7d54fe70d8c45569b8e7c1c7010c10",
            "a3c91c262eddcf7ba8f0e37507c30284493c9b20412ffe4af30d536401f7ba21",
        ),
    ),
    InstalledDataset(
        name="breast-cancer",
        title="Breast cancer",
        summary="569 tumours, 30 features",
        classes=("malignant", "benign"),
        licence="BSD-3-Clause as packaged",
        reference="Wolberg, Street and Mangasarian 1993, UCI: breast cancer Wisconsin (diagnostic)",
        splits=STRATIFIED,
        package="scikit-learn",
        make=builtin.breast_cancer,
        parts=table_parts(
            569,
            30,
            "6b202a2072f9a0385f405a8f8605b1b06f6f36ae6d23d9cd6cbbc0974a416bc7",
            "1763c0f8cd3f454b9eda72031113884593bb382411c0cd511e3ec6e7ac85cddb",
        ),
    ),
    InstalledDataset(
        name="diabetes",
        title="Diabetes",
        summary="442 patients, 10 features; the progression of the disease after a year is predicted",
        licence="BSD-3-Clause as packaged",
        reference="Efron, Hastie, Johnstone and Tibshirani 2004, Least angle regression",
        splits=RULE,
        package="scikit-learn",
        make=builtin.diabetes,
        parts=table_parts(
            442,
            10,
            "6b93b2556c8942c79d8374838768047adf9d1f4044510b9f948ddace62567d75",
            "4911e8747aff95aa1cd523fea86dd91cfd1cd14c1a8ead274f1913b14fa853c4",
            classes=False,
        ),
    ),
    FetchedDataset(
        name="letter",
        title="Letter recognition",
        summary="20 000 distorted letters, 16 features",
        classes=tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
        licence="GPL-2 as packaged",
        reference="Frey and Slate 1991, UCI: letter recognition",
        splits=STRATIFIED,
        origins=(Debian("r-cran-mlbench", 1_049_188),),
        originals=("LetterRecognition.rda",),
        needs=("rdata",),
        decode=partial(tables.table, name="LetterRecognition", target="lettr"),
        parts=table_parts(
            20_000,
            16,
            "692f7bb7abde2df4d93a3251c561b91d3e6a76a1110ac657679550e1d35921d0",
            "eb9c4c80b6d54cb76943c357a3e179e3bb0b716763de8224633daae8de57fcb3",
        ),
    ),
    FetchedDataset(
        name="satellite",
        title="Landsat satellite",
        summary="6 435 patches of land, 3x3 pixels in 4 bands",
        classes=SOILS,
        licence="GPL-2 as packaged",
        reference="Srinivasan 1993, UCI: Statlog (Landsat satellite)",
        splits=STRATIFIED,
        origins=(Debian("r-cran-mlbench", 1_049_188),),
        originals=("Satellite.rda",),
        needs=("rdata",),
        decode=partial(tables.table, name="Satellite", target="classes"),
        parts=table_parts(
            6435,
            36,
            "fdfe32c9c54d060530a3893ac4374e62154adc580474fe9aad9ffdb5aa9cc889",
            "1c6e3ace3cde4559d75eba54511d250301de2ff7d2b4ed8dc34558f363fd5562",
        ),
    ),
    FetchedDataset(
        name="shuttle",
        title="Shuttle",
        summary="58 000 readings of a space shuttle's radiators, 9 features; four fifths are of one class",
        classes=STATES,
        licence="GPL-2 as packaged",
        reference="Catlett, UCI: Statlog (shuttle)",
        splits=STRATIFIED,
        origins=(Debian("r-cran-mlbench", 1_049_188),),
        originals=("Shuttle.rda",),
        needs=("rdata",),
        decode=partial(tables.table, name="Shuttle", target="Class"),
        parts=table_parts(
            58_000,
            9,
            "79bb4b6ac5aa71fd2b84b62b61ec2ad260d80181c684f3be2cd328413444a0cd",
            "c2a1645dc3476134e678537a080699252c2bbda0269e5f735f6554907708669d",
        ),
    ),
    FetchedDataset(
        name="spam",
        title="Spambase",
        summary="4 601 e-mails, 57 frequencies of words and characters",
        classes=("nonspam", "spam"),
        licence="GPL-2 as packaged",
        reference="Hopkins, Reeber, Forman and Suermondt 1999, UCI: Spambase",
        splits=STRATIFIED,
        origins=(Debian("r-cran-kernlab", 2_112_480),),
        originals=("spam.rda",),
        needs=("rdata",),
        decode=partial(tables.table, name="spam", target="type"),
        parts=table_parts(
            4601,
            57,
            "a02ed147661c156879befcaa251d70ad4ac3a12220d0445433c884acdd8c36b1",
            "30335120dbb65677aaf7499bfa97f2300be6591faec91df4fe0e34a5b04ecc76",
        ),
    ),
    FetchedDataset(
        name="concrete",
        title="Concrete strength",
        summary="1 030 mixtures, 8 features; the compressive strength in MPa is predicted",
        licence="MIT as packaged",
        reference="Yeh 1998, UCI: concrete compressive strength",
        splits=RULE,
        origins=(Debian("r-cran-modeldata", 4_253_384),),
        originals=tables.DATABASE,
        needs=("rdata",),
        decode=partial(tables.table, name="concrete", target="compressive_strength"),
        parts=table_parts(
            1030,
            8,
            "c4f7f8fda5b3d88e68498336fd4c640b7c7215e13e58be2549e1d4251d005f26",
            "6a51bf86903430946bc63cad7bd665ee89132a2bb413172e60b7afe14800f013",
            classes=False,
        ),
    ),
)
