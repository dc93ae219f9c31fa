"""Which damping helps fine-tuning of language models, at which horizon?"""

from adaptive_lr import WSD, Constant, DampedCosine, Linear
from adaptive_lr.experiment import Horizons, HorizonStudy

EXPERIMENT = Horizons(
    name="e14_finetuning_longer",
    title="Fine-tuning, longer: which damping helps, and at which horizon?",
    question=(
        "Which damping helps a recurrent network that goes from one text to another, and a transformer of 22 million parameters that learns to tell "
        "sections of the Bible apart, with and without warm-up, and how much depends on the learning rate that somebody happened to pick?"
    ),
    schedules={
        "constant": Constant(),
        "cosine": DampedCosine(),
        "linear": Linear(),
        "WSD 20 %": WSD(cooldown=0.2),
    },
    reference="cosine",
    studies=[
        HorizonStudy.of_workload(
            "byte-gru",
            "byte-gru-fine-tuned",
            80,
            seeds=3,
            decades=1.5,
            schedules=("constant", "cosine", "linear"),
            warmups=(0.0,),
            data=("shakespeare", "state-of-the-union"),
        ),
        HorizonStudy.of_workload(
            "minilm",
            "minilm-sections",
            12,
            seeds=2,
            decades=1.0,
            schedules=("cosine", "linear"),
            warmups=(0.0,),  # 48 updates at most
            data=("minilm", "king-james-bible"),
        ),
    ],
)
