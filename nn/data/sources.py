"""The files of the data sets: checksums and addresses."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["SOURCES", "File"]


class File(NamedTuple):
    """One file. Without addresses it is searched in folders only."""

    sha256: str
    urls: tuple[str, ...] = ()


IDX = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)
CIFAR = "cifar-10-binary.tar.gz"
GITHUB = "https://raw.githubusercontent.com/"


def _idx_files(mirrors: tuple[str, ...], hashes: tuple[str, ...]) -> dict[str, File]:
    return {name: File(sha, tuple(m + name for m in mirrors)) for name, sha in zip(IDX, hashes)}


SOURCES: dict[str, dict[str, File]] = {
    "mnist": _idx_files(
        ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"),
        (
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        ),
    ),
    "fashion-mnist": _idx_files(
        (
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
        ),
        (
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        ),
    ),
    "cifar10": {
        CIFAR: File(
            "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            ("https://www.cs.toronto.edu/~kriz/" + CIFAR, "https://cave.cs.toronto.edu/kriz/" + CIFAR),
        ),
    },
    "boston": {
        "housing.csv": File(
            "ab16ba38fbbbbcc69fe930aab1293104f1442c8279c130d9eba03dd864bef675",
            (GITHUB + "selva86/datasets/c943fa8851270387c44d26efb0f9c0aac1559e11/BostonHousing.csv",),
        ),
    },
    "olivetti": {
        "olivetti_faces.npy": File("f4675846a7737863b5913460418a189c76b9a9d911df1098179bf8d67e254408"),
        "olivettifaces.mat": File(
            "b1988d02c72fe5b8ee82b5ef3bb7982eafc74f1e1ff0ae0ade35061ad0af534d",
            (
                GITHUB + "sjgershm/DBM/a30d9abb523aab874a299b8b1aa21e7df2023f60/olivettifaces.mat",
                "https://cs.nyu.edu/~roweis/data/olivettifaces.mat",
            ),
        ),
    },
    "tinyshakespeare": {
        "input.txt": File(
            "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
            (GITHUB + "karpathy/char-rnn/6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e/data/tinyshakespeare/input.txt",),
        ),
    },
}
