"""The names that users type. A change here is a change for them."""

import fritz_compress as fc

TOP = """
    analysis binarization binarize callbacks channel_groups convert
    convert_to_binary distillation factorize graph
    interop layers load_compressed losses models profile prune_filters
    quantization quantization_aware quantize_weights quantizers remove_filters
    remove_pruned_filters save_compressed storage surgery to_coreml to_tflite
    training
"""
NOUNS = {
    "analysis": """
        BitsRow Call Cost LatencyRow LatencyTable LayerProfile Profile
        SensitivityRow SensitivityTable SignalToNoiseRow SignalToNoiseTable
        SuggestedBits UniformBits plots profile register_cost sensitivity
        signal_to_noise suggest_bits
    """,
    "binarization": """
        BinarizationConfig BinarizationReport BinarizedLayer ConfigByLayer
        PackedModel binarize convert_to_binary design_warnings
    """,
    "callbacks": """
        CodebookFineTuning ConstantSparsity FilterPruning FilterRegularization
        FlipRate GradualBinarization IterativePruning LotteryTicketRewinding
        MagnitudePruning PolynomialDecay
    """,
    "convert": """
        ConversionError ConversionReport LayerReport Runner Timing latency
        latency_by_setting load sample_pictures to_coreml to_tflite
    """,
    "distillation": """
        AttentionTransfer Distiller Hint PixelDistillation RecordedTeacher
        SoftTargets distiller pixel_distiller
    """,
    "interop": "from_tf_keras tfmot to_tf_keras",
    "layers": """
        ActivationRange BinaryConv2D BinaryDense BinaryDepthwiseConv2D
        ChannelShuffle ConcatenationRange CropToMatch DeprocessStylizedImage
        DepthToSpace InstanceNormalization PadToMultiple QuantizedLayer
        RangeRounding StandardizeImage ToeplitzLikeDense XnorConv2D XnorDense
    """,
    "losses": """
        AttentionTransferLoss PerceptualLoss PixelLoss SoftTargetLoss
    """,
    "models": """
        BinaryConnectMLP BinaryLeNet5 BinaryResNet BinaryResNet18
        CifarResNet CifarVGG16 EfficientNetLite0 FlatStyleTransferNetwork
        ImageClassifier LeNet300100 LeNet5 MobileNetV1 MobileNetV2 ShuffleNetV1
        ShuffleNetV2 SmallStyleTransferNetwork SqueezeNet StyleTransferNetwork
        VGG16 VGG16Features load_pretrained
    """,
    "quantization": """
        AwareConfig ConfigByLayer Integers QuantizationReport QuantizedWeight
        Ranges WeightConfig apply_ranges calibrate
        error_corrected_codes freeze integers plain_model quantization_aware
        quantize_weights second_moments squared_gradients
    """,
    "storage": """
        CompressionReport WeightReport load_compressed save_compressed
    """,
    "quantizers": """
        ApproxSign BitQuantizer DoReFa EvenLevels Linear LinearSymmetric
        MagnitudeAwareSign SteSign SteTern StochasticSign SwishSign get
        serialize
    """,
    "surgery": """
        Call ChannelGroup ChannelGroups ConfigByLayer FactorizationConfig
        FactorizationReport FactorizedLayer LayerChange RemovalReport Strand
        Value Whole channel_groups criteria factorize fold_normalization
        prune_filters
        register_rule removal_report remove_filters remove_pruned_filters
    """,
    "training": """
        FeatureCache Photos PruningAttempt PruningReport TeacherCache
        cache_features cache_teacher distill distill_classifier join_head
        prune_layer_by_layer read_photo train_perceptual warmup_cosine
    """,
}


def test_the_front_door_is_frozen():
    assert fc.__all__ == sorted(TOP.split())
    assert all(getattr(fc, name) is not None for name in fc.__all__)
    assert set(fc.__all__) < set(dir(fc))


def test_the_nouns_are_frozen():
    for noun, names in NOUNS.items():
        assert sorted(getattr(fc, noun).__all__) == names.split(), noun


def test_the_version_is_that_of_the_installation():
    assert fc.__version__.count(".") == 2


def test_an_unknown_name_is_an_attribute_error():
    assert not hasattr(fc, "prune_everything")
