"""Small configurations of the backbones of KerasHub."""

import keras_hub

models = keras_hub.models

VOCABULARY = 20
SEQUENCE = 6
# Sounds have more samples than texts have tokens.
SOUND = {
    ("MoonshineBackbone", "encoder_input_values"): 1200,
    ("MoonshineBackbone", "encoder_padding_mask"): 1200,
}
TEXT = {"vocabulary_size": VOCABULARY, "num_layers": 2, "hidden_dim": 16}
ENCODER = {**TEXT, "num_heads": 2, "intermediate_dim": 24}
BOUNDED = {**ENCODER, "max_sequence_length": SEQUENCE}
DECODER = {
    **TEXT,
    "num_query_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_dim": 24,
}
EXPERTS = {"num_experts": 4, "top_k": 2}
GEMMA = {**DECODER, "head_dim": 4}
PATCHES = {
    "image_shape": (16, 16, 3),
    "patch_size": 4,
    "num_layers": 2,
    "hidden_dim": 16,
    "num_heads": 2,
}
LINEAR_ATTENTION = {
    **DECODER,
    "head_dim": 8,
    "layer_types": ["linear_attention", "full_attention"],
    "partial_rotary_factor": 0.25,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 4,
    "linear_value_head_dim": 4,
    "linear_conv_kernel_dim": 4,
}
RESIDUAL = {
    "input_conv_filters": [8],
    "input_conv_kernel_sizes": [3],
    "stackwise_num_filters": [64, 64, 64],
    "stackwise_num_blocks": [1, 2, 1],
    "stackwise_num_strides": [1, 2, 2],
    "block_type": "bottleneck_block",
    "image_shape": (32, 32, 3),
}
MIX_TRANSFORMER = {
    "layerwise_depths": [1, 1],
    "image_shape": (32, 32, 3),
    "hidden_dims": [8, 16],
    "num_layers": 2,
    "layerwise_num_heads": [1, 2],
    "layerwise_sr_ratios": [4, 2],
    "max_drop_path_rate": 0.1,
    "layerwise_patch_sizes": [7, 3],
    "layerwise_strides": [4, 2],
}
T5_GEMMA = {
    "vocabulary_size": VOCABULARY,
    **{
        f"{side}_{key}": value
        for side in ("encoder", "decoder")
        for key, value in {
            "hidden_dim": 16,
            "intermediate_dim": 24,
            "num_layers": 1,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 4,
            "layer_types": ["full_attention"],
        }.items()
    },
    "cross_attention_hidden_size": 16,
}
# The arguments of backbones that take nothing but numbers.
ARGUMENTS = {
    "AlbertBackbone": {**BOUNDED, "embedding_dim": 8},
    "BartBackbone": BOUNDED,
    "BertBackbone": BOUNDED,
    "BloomBackbone": ENCODER,
    "CSPNetBackbone": {
        "stem_filters": 8,
        "stem_kernel_size": 3,
        "stem_strides": 1,
        "stackwise_strides": 2,
        "stackwise_depth": [1, 2],
        "stackwise_num_filters": [16, 24],
        "image_shape": (32, 32, 3),
        "down_growth": True,
        "bottle_ratio": (0.5, 1.0),
        "block_ratio": (1.0, 0.5),
        "expand_ratio": (2.0, 1.0),
        "block_type": "dark_block",
        "stage_type": "csp",
        "stem_padding": "same",
    },
    "DINOV2Backbone": {
        **PATCHES,
        "intermediate_dim": 24,
        "num_register_tokens": 2,
        "use_swiglu_ffn": False,
        "layer_scale_init_value": 1.0,
    },
    "DINOV3Backbone": {
        **PATCHES,
        "intermediate_dim": 24,
        "num_register_tokens": 2,
        "use_gated_mlp": False,
        "layer_scale_init_value": 1.0,
    },
    "DebertaV3Backbone": BOUNDED,
    "DeiTBackbone": {**PATCHES, "intermediate_dim": 24},
    "DenseNetBackbone": {
        "stackwise_num_repeats": [2, 2],
        "compression_ratio": 0.5,
        "growth_rate": 4,
        "image_shape": (32, 32, 3),
    },
    "DistilBertBackbone": BOUNDED,
    "ESMBackbone": ENCODER,
    "EdRecBackbone": {
        "vocab_size": VOCABULARY,
        "num_layers_enc": 1,
        "num_layers_dec": 1,
        "num_heads": 2,
        "hidden_dim": 16,
        "intermediate_dim": 24,
        "dropout": 0.0,
    },
    "EfficientNetBackbone": {
        "stackwise_kernel_sizes": [3, 3],
        "stackwise_num_repeats": [2, 2],
        "stackwise_input_filters": [16, 16],
        "stackwise_output_filters": [16, 24],
        "stackwise_expansion_ratios": [4, 4],
        "stackwise_squeeze_and_excite_ratios": [0.0, 0.25],
        "stackwise_strides": [1, 2],
        "stackwise_block_types": ["fused", "unfused"],
        "stackwise_force_input_filters": [0, 0],
        "stackwise_nores_option": [False, False],
        "width_coefficient": 1.0,
        "depth_coefficient": 1.0,
        "image_shape": (32, 32, 3),
    },
    "ElectraBackbone": {
        "vocab_size": VOCABULARY,
        "num_layers": 2,
        "num_heads": 2,
        "hidden_dim": 16,
        "embedding_dim": 8,
        "intermediate_dim": 24,
        "max_sequence_length": SEQUENCE,
    },
    "FNetBackbone": {
        **TEXT,
        "intermediate_dim": 24,
        "max_sequence_length": SEQUENCE,
    },
    "FalconBackbone": {
        **TEXT,
        "num_attention_heads": 4,
        "intermediate_dim": 24,
    },
    "FluxBackbone": {
        "input_channels": 16,
        "hidden_size": 32,
        "mlp_ratio": 2.0,
        "num_heads": 2,
        "depth": 1,
        "depth_single_blocks": 1,
        "axes_dim": [4, 6, 6],
        "theta": 10_000,
        "use_bias": True,
        "guidance_embed": True,
        "image_shape": (16, 16),
        "text_shape": (6, 16),
        "image_ids_shape": (16, 3),
        "text_ids_shape": (6, 3),
        "y_shape": (16,),
    },
    "GPT2Backbone": BOUNDED,
    "GPTNeoXBackbone": BOUNDED,
    "Gemma3Backbone": {**GEMMA, "image_size": 16},
    "Gemma3nBackbone": {
        "text_vocab_size": VOCABULARY,
        "text_hidden_size": 8,
        "num_hidden_layers": 1,
        "pad_token_id": 0,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 4,
        "intermediate_size": [16],
        "hidden_activation": "gelu_approximate",
        "layer_types": ["full_attention"],
        "sliding_window": 4,
        "rope_theta": 10000.0,
        "max_position_embeddings": 6,
        "vocab_size_per_layer_input": 20,
        "hidden_size_per_layer_input": 4,
        "altup_num_inputs": 2,
        "laurel_rank": 2,
    },
    "Gemma4Backbone": {**GEMMA, "image_size": 16},
    "GemmaBackbone": GEMMA,
    "GptOssBackbone": {**DECODER, **EXPERTS, "sliding_window": 4},
    "HGNetV2Backbone": {
        "embedding_size": 16,
        "stem_channels": [3, 8, 16],
        "hidden_act": "relu",
        "use_learnable_affine_block": False,
        "image_shape": (32, 32, 3),
        "depths": [1, 1],
        "hidden_sizes": [24, 32],
        "stackwise_stage_filters": [
            [16, 8, 24, 1, 2, 3],
            [24, 16, 32, 1, 2, 3],
        ],
        "apply_downsample": [False, True],
        "use_lightweight_conv_block": [False, False],
        "out_features": ["stage2"],
    },
    "Llama3Backbone": DECODER,
    "LlamaBackbone": DECODER,
    "MiTBackbone": MIX_TRANSFORMER,
    "MistralBackbone": {**DECODER, "sliding_window": 4},
    "MixtralBackbone": {**DECODER, **EXPERTS, "sliding_window": 4},
    "MobileNetBackbone": {
        "stackwise_expansion": [[24, 32], [40, 40]],
        "stackwise_num_blocks": [2, 2],
        "stackwise_num_filters": [[16, 16], [24, 24]],
        "stackwise_kernel_size": [[3, 3], [5, 5]],
        "stackwise_num_strides": [[2, 1], [2, 1]],
        "stackwise_se_ratio": [[None, None], [0.25, 0.25]],
        "stackwise_activation": [
            ["relu", "relu"],
            ["hard_swish", "hard_swish"],
        ],
        "stackwise_padding": [[1, 1], [2, 2]],
        "output_num_filters": 32,
        "input_activation": "hard_swish",
        "output_activation": "hard_swish",
        "input_num_filters": 16,
        "image_shape": (32, 32, 3),
        "depthwise_filters": 8,
        "depthwise_stride": 2,
        "depthwise_residual": False,
        "squeeze_and_excite": 0.5,
        "last_layer_filter": 48,
    },
    "MobileNetV5Backbone": {
        "stackwise_block_types": [["er"], ["uir", "uir"]],
        "stackwise_num_blocks": [1, 2],
        "stackwise_num_filters": [[16], [24, 24]],
        "stackwise_strides": [[2], [2, 1]],
        "stackwise_act_layers": [["relu"], ["relu", "relu"]],
        "stackwise_exp_ratios": [[4.0], [2.0, 2.0]],
        "stackwise_se_ratios": [[0.0], [0.0, 0.0]],
        "stackwise_dw_kernel_sizes": [[0], [5, 5]],
        "stackwise_dw_start_kernel_sizes": [[0], [0, 0]],
        "stackwise_dw_end_kernel_sizes": [[0], [0, 0]],
        "stackwise_exp_kernel_sizes": [[3], [0, 0]],
        "stackwise_pw_kernel_sizes": [[1], [0, 0]],
        "stackwise_num_heads": [[0], [0, 0]],
        "stackwise_key_dims": [[0], [0, 0]],
        "stackwise_value_dims": [[0], [0, 0]],
        "stackwise_kv_strides": [[0], [0, 0]],
        "stackwise_use_cpe": [[False], [False, False]],
        "image_shape": (32, 32, 3),
        "stem_size": 16,
        "use_msfa": False,
    },
    "MoonshineBackbone": {
        "vocabulary_size": VOCABULARY,
        "filter_dim": 16,
        "encoder_num_layers": 1,
        "decoder_num_layers": 1,
        "hidden_dim": 16,
        "intermediate_dim": 24,
        "encoder_num_heads": 2,
        "decoder_num_heads": 2,
        "decoder_use_swiglu_activation": True,
        "max_position_embeddings": 64,
    },
    "OPTBackbone": BOUNDED,
    "PaliGemmaBackbone": {
        **TEXT,
        "num_query_heads": 2,
        "num_key_value_heads": 1,
        "intermediate_dim": 24,
        "head_dim": 4,
        "image_size": 16,
        "vit_patch_size": 4,
        "vit_num_layers": 1,
        "vit_num_heads": 2,
        "vit_hidden_dim": 8,
        "vit_intermediate_dim": 16,
    },
    "Phi3Backbone": DECODER,
    "Qwen3Backbone": {**DECODER, "head_dim": 4},
    "Qwen3MoeBackbone": {
        **DECODER,
        **EXPERTS,
        "head_dim": 4,
        "moe_intermediate_dim": 16,
    },
    "Qwen3_5Backbone": LINEAR_ATTENTION,
    "Qwen3_5MoeBackbone": {
        **{k: v for k, v in LINEAR_ATTENTION.items() if k[:5] != "inter"},
        **EXPERTS,
        "moe_intermediate_dim": 8,
        "shared_expert_intermediate_size": 8,
    },
    "QwenBackbone": DECODER,
    "QwenMoeBackbone": {
        **DECODER,
        **EXPERTS,
        "moe_intermediate_dim": 16,
        "shared_expert_intermediate_dim": 16,
    },
    "RWKV7Backbone": {
        "vocabulary_size": VOCABULARY,
        "hidden_size": 16,
        "num_layers": 2,
        "head_size": 4,
        "intermediate_dim": 24,
        "gate_lora": 8,
        "mv_lora": 8,
        "aaa_lora": 8,
        "decay_lora": 8,
    },
    "ResNetBackbone": RESIDUAL,
    "RobertaBackbone": BOUNDED,
    "RoformerV2Backbone": {**ENCODER, "head_size": 8},
    "SmolLM3Backbone": {
        **TEXT,
        "intermediate_dim": 24,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "rope_layer_enabled_list": [True, True],
        "layer_types": ["attention", "attention"],
        "mlp_bias": False,
        "layer_norm_epsilon": 1e-5,
        "max_position_embeddings": 16,
        "rope_theta": 10000.0,
        "partial_rotary_factor": 1.0,
    },
    "SwinTransformerBackbone": {
        "image_shape": (32, 32, 3),
        "embed_dim": 16,
        "depths": (2, 2),
        "num_heads": (2, 4),
        "window_size": 4,
    },
    "T5Backbone": ENCODER,
    "T5Gemma2Backbone": T5_GEMMA,
    "T5GemmaBackbone": T5_GEMMA,
    "VGGBackbone": {
        "stackwise_num_repeats": [1, 2],
        "stackwise_num_filters": [8, 16],
        "image_shape": (16, 16, 3),
    },
    "ViTBackbone": {**PATCHES, "patch_size": (4, 4), "mlp_dim": 24},
    "ViTDetBackbone": {
        "image_shape": (16, 16, 3),
        "patch_size": 2,
        "hidden_size": 16,
        "num_layers": 2,
        "global_attention_layer_indices": [1],
        "intermediate_dim": 24,
        "num_heads": 2,
        "num_output_channels": 8,
        "window_size": 2,
    },
    "VideoPrismBackbone": {
        "image_shape": (8, 8, 3),
        "num_frames": 2,
        "patch_size": 4,
        "hidden_dim": 16,
        "intermediate_dim": 24,
        "num_heads": 2,
        "num_spatial_layers": 1,
        "num_temporal_layers": 1,
        "num_auxiliary_layers": 1,
        "vocabulary_size": 0,
        "num_text_layers": 0,
    },
    "WhisperBackbone": {
        **ENCODER,
        "max_encoder_sequence_length": 6,
        "max_decoder_sequence_length": 6,
    },
    "XLMRobertaBackbone": BOUNDED,
    "XLNetBackbone": ENCODER,
    "XceptionBackbone": {
        "stackwise_conv_filters": [[8, 16], [24, 24], [32, 32]],
        "stackwise_pooling": [False, True, False],
        "image_shape": (32, 32, 3),
    },
}


def _residual(**changes):
    return models.ResNetBackbone(**{**RESIDUAL, **changes})


def _clip(vision_encoder, text_encoder):
    """Encoders of pictures and of words."""
    return {
        "vision_encoder": vision_encoder(
            8, 16, 1, 2, 24, image_shape=(16, 16, 3), name="vision"
        ),
        "text_encoder": text_encoder(
            *(VOCABULARY, 16, 16, 1, 2, 24),
            max_sequence_length=SEQUENCE,
            name="text",
        ),
    }


def _blip2():
    from keras_hub.src.models.blip2 import (
        blip2_custom_opt,
        blip2_qformer,
        blip2_vision_encoder,
    )

    sizes = {"num_layers": 1, "num_heads": 2, "intermediate_dim": 24}
    return models.BLIP2Backbone(
        vision_encoder=blip2_vision_encoder.BLIP2VisionEncoder(
            image_size=16,
            patch_size=4,
            hidden_dim=16,
            use_patch_bias=True,
            use_class_token=True,
            use_mha_bias=True,
            use_mlp_bias=True,
            dropout_rate=0.0,
            layer_norm_epsilon=1e-6,
            initializer_range=0.02,
            **sizes,
        ),
        qformer=blip2_qformer.BLIP2QFormer(
            num_query_tokens=2,
            hidden_dim=16,
            vision_dim=16,
            cross_attention_frequency=1,
            dropout=0.0,
            layer_norm_epsilon=1e-6,
            **sizes,
        ),
        language_model=blip2_custom_opt.BLIP2CustomOPT(
            vocabulary_size=VOCABULARY,
            hidden_dim=16,
            num_query_tokens=2,
            qformer_hidden_dim=16,
            max_sequence_length=10,
            dropout=0.0,
            language_projection=None,
            **sizes,
        ),
    )


def _clip_backbone():
    from keras_hub.src.models.clip import clip_text_encoder, clip_vision_encoder

    return models.CLIPBackbone(
        **_clip(
            clip_vision_encoder.CLIPVisionEncoder,
            clip_text_encoder.CLIPTextEncoder,
        ),
        projection_dim=16,
    )


def _metaclip_2():
    from keras_hub.src.models.metaclip_2 import (
        metaclip_2_text_encoder,
        metaclip_2_vision_encoder,
    )

    return models.MetaCLIP2Backbone(
        **_clip(
            metaclip_2_vision_encoder.MetaCLIP2VisionEncoder,
            metaclip_2_text_encoder.MetaCLIP2TextEncoder,
        ),
        projection_dim=16,
    )


def _siglip():
    from keras_hub.src.models.siglip import (
        siglip_text_encoder,
        siglip_vision_encoder,
    )

    return models.SigLIPBackbone(
        **_clip(
            siglip_vision_encoder.SigLIPVisionEncoder,
            siglip_text_encoder.SigLIPTextEncoder,
        )
    )


def _basnet():
    return models.BASNetBackbone(
        _residual(
            block_type="basic_block",
            image_shape=(None, None, 3),
            input_conv_filters=[64],
            stackwise_num_filters=[64, 128, 256, 512],
            stackwise_num_blocks=[1, 1, 1, 1],
            stackwise_num_strides=[1, 2, 2, 2],
        ),
        num_classes=1,
        image_shape=(32, 32, 3),
        projection_filters=64,
    )


def _deeplab_v3():
    return models.DeepLabV3Backbone(
        _residual(),
        low_level_feature_key="P2",
        spatial_pyramid_pooling_key="P4",
        dilation_rates=[2, 3],
        upsampling_size=4,
        image_shape=(32, 32, 3),
    )


def _depth_anything():
    dino = models.DINOV2Backbone(
        **{
            **ARGUMENTS["DINOV2Backbone"],
            "num_layers": 4,
            "image_shape": (48, 48, 3),
        },
        apply_layernorm=True,
        name="image_encoder",
    )
    return models.DepthAnythingBackbone(
        dino,
        reassemble_factors=[4, 2, 1, 0.5],
        neck_hidden_dims=[8, 8, 16, 16],
        fusion_hidden_dim=16,
        head_hidden_dim=8,
        head_in_index=-1,
        feature_keys=["stage1", "stage2", "stage3", "stage4"],
    )


def _parseq():
    return models.PARSeqBackbone(
        models.ViTBackbone(
            **ARGUMENTS["ViTBackbone"],
            use_class_token=False,
            name="image_encoder",
        ),
        vocabulary_size=VOCABULARY,
        max_label_length=SEQUENCE,
        decoder_hidden_dim=16,
        num_decoder_layers=1,
        num_decoder_heads=2,
        decoder_mlp_dim=24,
    )


def _retinanet():
    return models.RetinaNetBackbone(
        _residual(
            image_shape=(None, None, 3),
            stackwise_num_filters=[64, 64, 64, 64],
            stackwise_num_blocks=[1, 1, 1, 1],
            stackwise_num_strides=[1, 2, 2, 2],
        ),
        min_level=3,
        max_level=5,
        use_p5=False,
        image_shape=(64, 64, 3),
    )


def _segformer():
    return models.SegFormerBackbone(
        models.MiTBackbone(**MIX_TRANSFORMER), projection_filters=16
    )


# Backbones that are given others.
BUILDERS = {
    "BASNetBackbone": _basnet,
    "BLIP2Backbone": _blip2,
    "CLIPBackbone": _clip_backbone,
    "DeepLabV3Backbone": _deeplab_v3,
    "DepthAnythingBackbone": _depth_anything,
    "MetaCLIP2Backbone": _metaclip_2,
    "PARSeqBackbone": _parseq,
    "RetinaNetBackbone": _retinanet,
    "SegFormerBackbone": _segformer,
    "SigLIPBackbone": _siglip,
}


def names() -> list[str]:
    """All backbones that have a configuration here."""
    return sorted({*ARGUMENTS, *BUILDERS})


def backbone(name: str):
    """A small one of this class, with random weights."""
    if name in BUILDERS:
        return BUILDERS[name]()
    return getattr(models, name)(**ARGUMENTS[name])
