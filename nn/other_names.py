"""Names of PyTorch and Keras for things with another name here: the hint in the error for nn.CrossEntropyLoss."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["HERE", "OF_LOSSES", "OF_MODULES"]

OF_NUMPY = "a class of your own with NumPy in its forward, or the function itself"
ANY_LOSS = "any function (z, t) -> scalar: optimizers take it as the loss"

HERE: Mapping[str, tuple[str, ...]] = {
    "nn.SoftmaxCrossEntropy": (
        *("CrossEntropyLoss", "NLLLoss", "CategoricalCrossentropy", "SparseCategoricalCrossentropy"),
    ),
    "nn.SigmoidCrossEntropy, summed over outputs": ("BCEWithLogitsLoss", "BCELoss", "BinaryCrossentropy"),
    "nn.SquaredError, ½‖z − t‖²": ("MSELoss", "MeanSquaredError", "L2Loss"),
    ANY_LOSS: (
        *(
            "L1Loss",
            "HuberLoss",
            "SmoothL1Loss",
            "KLDivLoss",
            "PoissonNLLLoss",
            "GaussianNLLLoss",
            "HingeEmbeddingLoss",
        ),
        *("MarginRankingLoss", "TripletMarginLoss", "CosineEmbeddingLoss", "MultiMarginLoss", "CTCLoss", "Huber"),
        *("MeanAbsoluteError", "Hinge", "KLDivergence", "MultiLabelMarginLoss", "SoftMarginLoss"),
    ),
    "nn.Linear": ("Dense", "LazyLinear", "Affine", "FullyConnected"),
    "nn.BatchNorm": ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "BatchNormalization", "SyncBatchNorm"),
    "nn.LayerNorm": ("LayerNormalization", "RMSNorm"),
    "nn.Dropout": ("Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout", "SpatialDropout2D"),
    "nn.Conv2d": ("Conv2D", "LazyConv2d"),
    "nn.Conv2d, on images of height 1": ("Conv1d", "Conv1D"),
    "nn.ConvTranspose2d": ("Conv2DTranspose", "ConvTranspose1d"),
    "nn.MaxPool2d": ("MaxPooling2D", "MaxPool1d"),
    "nn.AvgPool2d": ("AveragePooling2D", "AvgPool1d"),
    "nn.GlobalAvgPool2d": ("AdaptiveAvgPool2d", "GlobalAveragePooling2D"),
    "nn.GlobalMaxPool2d": ("AdaptiveMaxPool2d", "GlobalMaxPooling2D"),
    "x.repeat(2, axis=1).repeat(2, axis=2) in a forward, or nn.ConvTranspose2d": (
        *("Upsample", "UpsamplingNearest2d", "UpsamplingBilinear2d", "UpSampling2D", "PixelShuffle"),
    ),
    "nn.MultiHeadAttention": ("MultiheadAttention", "Attention"),
    "nn.TransformerBlock": (
        *("TransformerEncoderLayer", "TransformerEncoder", "Transformer", "TransformerDecoderLayer"),
    ),
    "nn.RNN": ("RNNCell", "SimpleRNN"),
    "nn.LSTM": ("LSTMCell",),
    "nn.GRU": ("GRUCell",),
    "nn.SiLU": ("Swish", "Hardswish"),
    "nn.ReLU, nn.Tanh, nn.Sigmoid, …": ("Activation",),
    "nn.functional.log_softmax": ("LogSoftmax",),
    "np.clip in a forward": ("ReLU6", "Hardtanh"),
    OF_NUMPY: (
        *("Hardsigmoid", "PReLU", "SELU", "CELU", "Mish", "GLU", "Softsign", "Tanhshrink", "LogSigmoid", "Threshold"),
        *("GroupNorm", "InstanceNorm2d", "InstanceNorm1d", "LocalResponseNorm", "Bilinear", "Unflatten", "Reshape"),
        *("Lambda", "ZeroPad2d", "ConstantPad2d", "ReflectionPad2d", "Fold", "Unfold", "CosineSimilarity", "Permute"),
        *("PairwiseDistance", "Concatenate", "Add", "EmbeddingBag"),
    ),
    "not here: images have two axes": ("Conv3d", "Conv3D", "MaxPool3d", "AvgPool3d", "ConvTranspose3d"),
    "an array as an attribute of the module": ("Parameter", "ParameterList", "ParameterDict", "Buffer"),
    "a list of modules as an attribute": ("ModuleList",),
    "a dict of modules as an attribute": ("ModuleDict",),
    "nn.Module": ("Model", "Layer"),
    "left out: the sizes of layers are given, nn.Linear(784, 400, rng=rng)": ("Input", "InputLayer"),
    "nn.data.batches, or opt.fit": ("DataLoader", "TensorDataset", "utils"),
    "opt.fit(x, t, …), of every optimizer": ("fit", "Trainer", "train"),
    "the package optim": ("optim", "optimizers"),
    "left out: a batch is divided among threads by itself": ("DataParallel",),
}

OF_MODULES: Mapping[str, tuple[str, ...]] = {
    "model(x)": ("predict", "predict_proba", "apply", "call"),
    "opt.fit(x, t, epochs=…), with opt = optim.HessianFree(model, loss)": (
        "fit",
        "compile",
        "partial_fit",
        "train_step",
    ),
    "left out: opt.step(x, t) forms the gradient afresh": ("zero_grad", "backward"),
    "rmad.grad(lambda m: loss(m(x), t))(model), a tree like the model": ("grad", "requires_grad_", "requires_grad"),
    "arrays of CuPy: docs/gpu.md": ("cuda", "to", "cpu", "to_device"),
    "dtype= of its layers, nn.Linear(…, dtype=np.float64)": ("double", "float", "half", "bfloat16"),
    "nn.summary(model, shape)": ("summary",),
    "model.modules()": ("children", "named_modules", "named_children", "layers"),
    "nn.save(model, path)": ("save", "save_weights"),
    "nn.load(model, path)": ("load", "load_weights", "load_model"),
    "an array as an attribute": ("register_parameter", "add_module", "add_weight", "register_module"),
    "the name in `buffers`": ("register_buffer",),
    "model.n_parameters": ("count_params", "num_parameters"),
    "nn.Sequential(*layers)": ("add", "append"),
    "model.named_parameters()": ("get_weights", "trainable_variables", "trainable_weights", "weights"),
    "model.load_state_dict(state)": ("set_weights",),
}

OF_LOSSES: Mapping[str, tuple[str, ...]] = {
    "opt.step(x, t), which differentiates model and loss; or rmad.grad(lambda m: loss(m(x), t))(model)": (
        *("backward", "item", "grad"),
    ),
    "loss(z, t)": ("forward", "call", "apply"),
    "left out: a loss has no parameters": ("parameters", "to", "cuda", "zero_grad"),
}
