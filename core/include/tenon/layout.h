/*
 * layout.h - the ABI in numbers: where every member of every struct that
 * crosses the plugin boundary lies, and what every number means.
 *
 * A plugin built years ago reads these structs by offset. A line here that no
 * longer compiles says that such a plugin would now read something else: undo
 * the change that broke it. New members go to the end of their struct and get
 * a line of their own; TN_SIZE_ of a struct may then grow, if everyone who
 * reads it knows its length (struct_size, attr_size, stride). Numbers are never
 * changed or reused.
 */
#ifndef TENON_LAYOUT_H
#define TENON_LAYOUT_H

#include <tenon/arch.h>
#include <tenon/backend.h>
#include <tenon/base.h>
#include <tenon/builder.h>
#include <tenon/communicator.h>
#include <tenon/dataset.h>
#include <tenon/host.h>
#include <tenon/map.h>
#include <tenon/op.h>
#include <tenon/optimizer.h>
#include <tenon/option.h>
#include <tenon/plan.h>
#include <tenon/plugin.h>
#include <tenon/schedule.h>
#include <tenon/tokenizer.h>

#ifdef __cplusplus
#define TN_ASSERT_ static_assert
#else
#define TN_ASSERT_ _Static_assert
#endif
#define TN_SIZE_(type, bytes)                                                  \
    TN_ASSERT_(sizeof(type) == (bytes), "size of " #type)
#define TN_AT_(type, member, offset)                                           \
    TN_ASSERT_(offsetof(type, member) == (offset), #type "." #member)
#define TN_NUMBER_(name, number)                                               \
    TN_ASSERT_((name) == (number), "number of " #name)

#if UINTPTR_MAX != 0xffffffffffffffffu
#error "Tenon's plugin ABI is defined for 64-bit machines only"
#endif

/* ---- base.h ---- */

TN_SIZE_(tn_error, 1024);
TN_AT_(tn_error, status, 0);
TN_AT_(tn_error, message, 4);

TN_SIZE_(tn_tensor, 4);
TN_AT_(tn_tensor, id, 0);

TN_SIZE_(tn_tensor_info, 104);
TN_AT_(tn_tensor_info, dtype, 0);
TN_AT_(tn_tensor_info, rank, 4);
TN_AT_(tn_tensor_info, shape, 8);
TN_AT_(tn_tensor_info, stride, 56);

TN_SIZE_(tn_here, 16);
TN_AT_(tn_here, file, 0);
TN_AT_(tn_here, line, 8);
TN_AT_(tn_here, reserved, 12);

/* ---- host.h ---- */

TN_SIZE_(tn_host, 56);
TN_AT_(tn_host, struct_size, 0);
TN_AT_(tn_host, abi_minor, 4);
TN_AT_(tn_host, log, 8);
TN_AT_(tn_host, pool, 16);
TN_AT_(tn_host, pool_count, 24);
TN_AT_(tn_host, pool_run, 32);
TN_AT_(tn_host, pool_barrier, 40);
TN_AT_(tn_host, local_rank, 48);
TN_AT_(tn_host, local_size, 52);

/* ---- option.h ---- */

TN_SIZE_(tn_strings, 16);
TN_AT_(tn_strings, at, 0);
TN_AT_(tn_strings, count, 8);
TN_AT_(tn_strings, reserved, 12);

TN_SIZE_(tn_option, 64);
TN_AT_(tn_option, name, 0);
TN_AT_(tn_option, help, 8);
TN_AT_(tn_option, text, 16);
TN_AT_(tn_option, kind, 24);
TN_AT_(tn_option, flags, 28);
TN_AT_(tn_option, offset, 32);
TN_AT_(tn_option, count, 36);
TN_AT_(tn_option, fallback, 40);
TN_AT_(tn_option, min, 48);
TN_AT_(tn_option, max, 56);

TN_SIZE_(tn_option_table, 24);
TN_AT_(tn_option_table, at, 0);
TN_AT_(tn_option_table, count, 8);
TN_AT_(tn_option_table, stride, 12);
TN_AT_(tn_option_table, size, 16);
TN_AT_(tn_option_table, reserved, 20);

/* ---- plugin.h ---- */

TN_SIZE_(tn_component_head, 32);
TN_AT_(tn_component_head, summary, 0);
TN_AT_(tn_component_head, options, 8);

TN_SIZE_(tn_component, 32);
TN_AT_(tn_component, struct_size, 0);
TN_AT_(tn_component, kind, 4);
TN_AT_(tn_component, name, 8);
TN_AT_(tn_component, vtable, 16);
TN_AT_(tn_component, vtable_size, 24);
TN_AT_(tn_component, reserved, 28);

TN_SIZE_(tn_plugin_desc, 80);
TN_AT_(tn_plugin_desc, struct_size, 0);
TN_AT_(tn_plugin_desc, magic, 4);
TN_AT_(tn_plugin_desc, abi_minor_built, 8);
TN_AT_(tn_plugin_desc, abi_minor_required, 12);
TN_AT_(tn_plugin_desc, abi_tag, 16);
TN_AT_(tn_plugin_desc, name, 24);
TN_AT_(tn_plugin_desc, version, 32);
TN_AT_(tn_plugin_desc, license, 40);
TN_AT_(tn_plugin_desc, components, 48);
TN_AT_(tn_plugin_desc, component_count, 56);
TN_AT_(tn_plugin_desc, component_stride, 60);
TN_AT_(tn_plugin_desc, init, 64);
TN_AT_(tn_plugin_desc, fini, 72);

/* ---- op.h ---- */

TN_SIZE_(tn_no_attr, 4);
TN_AT_(tn_no_attr, reserved, 0);

TN_SIZE_(tn_view_attr, 96);
TN_AT_(tn_view_attr, kind, 0);
TN_AT_(tn_view_attr, rank, 4);
TN_AT_(tn_view_attr, shape, 8);
TN_AT_(tn_view_attr, axis, 56);
TN_AT_(tn_view_attr, start, 80);
TN_AT_(tn_view_attr, length, 88);

TN_SIZE_(tn_map_attr, 408);
TN_AT_(tn_map_attr, program, 0);
TN_AT_(tn_map_attr, dtype, 392);

TN_SIZE_(tn_reduce_attr, 400);
TN_AT_(tn_reduce_attr, program, 0);
TN_AT_(tn_reduce_attr, kind, 392);
TN_AT_(tn_reduce_attr, axes, 396);

TN_SIZE_(tn_cumsum_attr, 12);
TN_AT_(tn_cumsum_attr, axis, 0);
TN_AT_(tn_cumsum_attr, reverse, 4);
TN_AT_(tn_cumsum_attr, exclusive, 8);

TN_SIZE_(tn_copy_attr, 4);
TN_AT_(tn_copy_attr, dtype, 0);

TN_SIZE_(tn_concat_attr, 4);
TN_AT_(tn_concat_attr, axis, 0);

TN_SIZE_(tn_scatter_attr, 8);
TN_AT_(tn_scatter_attr, rows, 0);

TN_SIZE_(tn_topk_attr, 8);
TN_AT_(tn_topk_attr, k, 0);

TN_SIZE_(tn_expert_plan_attr, 8);
TN_AT_(tn_expert_plan_attr, experts, 0);

TN_SIZE_(tn_grouped_matmul_attr, 8);
TN_AT_(tn_grouped_matmul_attr, transpose_a, 0);
TN_AT_(tn_grouped_matmul_attr, reserved, 4);

TN_SIZE_(tn_fill_attr, 64);
TN_AT_(tn_fill_attr, value, 0);
TN_AT_(tn_fill_attr, dtype, 8);
TN_AT_(tn_fill_attr, rank, 12);
TN_AT_(tn_fill_attr, shape, 16);

TN_SIZE_(tn_norm_attr, 8);
TN_AT_(tn_norm_attr, eps, 0);

TN_SIZE_(tn_rope_attr, 24);
TN_AT_(tn_rope_attr, theta, 0);
TN_AT_(tn_rope_attr, dims, 8);
TN_AT_(tn_rope_attr, interleaved, 16);
TN_AT_(tn_rope_attr, inverse, 20);

TN_SIZE_(tn_attention_attr, 32);
TN_AT_(tn_attention_attr, scale, 0);
TN_AT_(tn_attention_attr, softcap, 8);
TN_AT_(tn_attention_attr, window, 16);
TN_AT_(tn_attention_attr, bidirectional, 24);
TN_AT_(tn_attention_attr, reserved, 28);

TN_SIZE_(tn_loss_attr, 8);
TN_AT_(tn_loss_attr, softcap, 0);

TN_SIZE_(tn_ssd_attr, 8);
TN_AT_(tn_ssd_attr, chunk_size, 0);

TN_SIZE_(tn_newton_schulz_attr, 40);
TN_AT_(tn_newton_schulz_attr, steps, 0);
TN_AT_(tn_newton_schulz_attr, a, 8);
TN_AT_(tn_newton_schulz_attr, b, 16);
TN_AT_(tn_newton_schulz_attr, c, 24);
TN_AT_(tn_newton_schulz_attr, eps, 32);

TN_SIZE_(tn_dropout_attr, 16);
TN_AT_(tn_dropout_attr, rate, 0);
TN_AT_(tn_dropout_attr, stream, 8);
TN_AT_(tn_dropout_attr, reserved, 12);

TN_SIZE_(tn_op_node, 32);
TN_AT_(tn_op_node, attr, 0);
TN_AT_(tn_op_node, in, 8);
TN_AT_(tn_op_node, out, 16);
TN_AT_(tn_op_node, in_count, 24);
TN_AT_(tn_op_node, out_count, 28);

TN_SIZE_(tn_op_desc, 72);
TN_AT_(tn_op_desc, struct_size, 0);
TN_AT_(tn_op_desc, number, 4);
TN_AT_(tn_op_desc, name, 8);
TN_AT_(tn_op_desc, tier, 16);
TN_AT_(tn_op_desc, min_in, 20);
TN_AT_(tn_op_desc, max_in, 24);
TN_AT_(tn_op_desc, out_count, 28);
TN_AT_(tn_op_desc, attr_size, 32);
TN_AT_(tn_op_desc, shape, 40);
TN_AT_(tn_op_desc, gradient, 48);
TN_AT_(tn_op_desc, decompose, 56);
TN_AT_(tn_op_desc, flops, 64);

/* ---- map.h ---- */

TN_SIZE_(tn_instruction, 4);
TN_AT_(tn_instruction, op, 0);
TN_AT_(tn_instruction, a, 1);
TN_AT_(tn_instruction, b, 2);
TN_AT_(tn_instruction, c, 3);

TN_SIZE_(tn_program, 392);
TN_AT_(tn_program, input_count, 0);
TN_AT_(tn_program, output_count, 1);
TN_AT_(tn_program, instruction_count, 2);
TN_AT_(tn_program, constant_count, 3);
TN_AT_(tn_program, output, 4);
TN_AT_(tn_program, instruction, 8);
TN_AT_(tn_program, constant, 264);

/* ---- plan.h ---- */

TN_SIZE_(tn_operand, 120);
TN_AT_(tn_operand, arena, 0);
TN_AT_(tn_operand, dtype, 4);
TN_AT_(tn_operand, rank, 8);
TN_AT_(tn_operand, reserved, 12);
TN_AT_(tn_operand, offset, 16);
TN_AT_(tn_operand, shape, 24);
TN_AT_(tn_operand, stride, 72);

TN_SIZE_(tn_plan_node, 80);
TN_AT_(tn_plan_node, struct_size, 0);
TN_AT_(tn_plan_node, op, 4);
TN_AT_(tn_plan_node, name, 8);
TN_AT_(tn_plan_node, attr, 16);
TN_AT_(tn_plan_node, in, 24);
TN_AT_(tn_plan_node, out, 32);
TN_AT_(tn_plan_node, in_count, 40);
TN_AT_(tn_plan_node, out_count, 44);
TN_AT_(tn_plan_node, accumulate, 48);
TN_AT_(tn_plan_node, group, 52);
TN_AT_(tn_plan_node, file, 56);
TN_AT_(tn_plan_node, line, 64);
TN_AT_(tn_plan_node, layer, 68);
TN_AT_(tn_plan_node, flops, 72);

TN_SIZE_(tn_plan_segment, 8);
TN_AT_(tn_plan_segment, first, 0);
TN_AT_(tn_plan_segment, count, 4);

TN_SIZE_(tn_plan, 120);
TN_AT_(tn_plan, struct_size, 0);
TN_AT_(tn_plan, node_count, 4);
TN_AT_(tn_plan, node_stride, 8);
TN_AT_(tn_plan, segment_count, 12);
TN_AT_(tn_plan, name, 16);
TN_AT_(tn_plan, nodes, 24);
TN_AT_(tn_plan, segments, 32);
TN_AT_(tn_plan, arena_bytes, 40);

/* ---- backend.h ---- */

TN_SIZE_(tn_device_info, 536);
TN_AT_(tn_device_info, struct_size, 0);
TN_AT_(tn_device_info, score, 4);
TN_AT_(tn_device_info, name, 8);
TN_AT_(tn_device_info, note, 136);
TN_AT_(tn_device_info, memory_bytes, 520);
TN_AT_(tn_device_info, threads, 528);
TN_AT_(tn_device_info, reserved, 532);

TN_SIZE_(tn_backend_caps, 32);
TN_AT_(tn_backend_caps, struct_size, 0);
TN_AT_(tn_backend_caps, precisions, 4);
TN_AT_(tn_backend_caps, flags, 8);
TN_AT_(tn_backend_caps, map_inputs, 12);
TN_AT_(tn_backend_caps, map_instructions, 16);
TN_AT_(tn_backend_caps, reserved, 20);
TN_AT_(tn_backend_caps, memory_bytes, 24);

TN_SIZE_(tn_backend, 152);
TN_AT_(tn_backend, summary, 0);
TN_AT_(tn_backend, options, 8);
TN_AT_(tn_backend, probe, 32);
TN_AT_(tn_backend, open, 40);
TN_AT_(tn_backend, close, 48);
TN_AT_(tn_backend, caps, 56);
TN_AT_(tn_backend, supports, 64);
TN_AT_(tn_backend, alloc, 72);
TN_AT_(tn_backend, free, 80);
TN_AT_(tn_backend, map, 88);
TN_AT_(tn_backend, upload, 96);
TN_AT_(tn_backend, download, 104);
TN_AT_(tn_backend, compile, 112);
TN_AT_(tn_backend, exec_free, 120);
TN_AT_(tn_backend, run, 128);
TN_AT_(tn_backend, wait, 136);
TN_AT_(tn_backend, extension, 144);

TN_SIZE_(tn_profile_extension, 24);
TN_AT_(tn_profile_extension, struct_size, 0);
TN_AT_(tn_profile_extension, reserved, 4);
TN_AT_(tn_profile_extension, enable, 8);
TN_AT_(tn_profile_extension, read, 16);

TN_SIZE_(tn_workspace_extension, 16);
TN_AT_(tn_workspace_extension, struct_size, 0);
TN_AT_(tn_workspace_extension, reserved, 4);
TN_AT_(tn_workspace_extension, bytes, 8);

TN_SIZE_(tn_ask_extension, 32);
TN_AT_(tn_ask_extension, struct_size, 0);
TN_AT_(tn_ask_extension, slots, 4);
TN_AT_(tn_ask_extension, bytes, 8);
TN_AT_(tn_ask_extension, ask, 16);
TN_AT_(tn_ask_extension, take, 24);

/* ---- arch.h ---- */

TN_SIZE_(tn_init, 24);
TN_AT_(tn_init, kind, 0);
TN_AT_(tn_init, reserved, 4);
TN_AT_(tn_init, a, 8);
TN_AT_(tn_init, b, 16);

TN_SIZE_(tn_layer_api, 64);
TN_AT_(tn_layer_api, struct_size, 0);
TN_AT_(tn_layer_api, reserved, 4);
TN_AT_(tn_layer_api, weight, 8);
TN_AT_(tn_layer_api, cache, 16);
TN_AT_(tn_layer_api, load, 24);
TN_AT_(tn_layer_api, store, 32);
TN_AT_(tn_layer_api, mlp, 40);
TN_AT_(tn_layer_api, auxiliary_loss, 48);
TN_AT_(tn_layer_api, window, 56);

TN_SIZE_(tn_layer, 80);
TN_AT_(tn_layer, struct_size, 0);
TN_AT_(tn_layer, index, 4);
TN_AT_(tn_layer, layer_count, 8);
TN_AT_(tn_layer, training, 12);
TN_AT_(tn_layer, api, 16);
TN_AT_(tn_layer, b, 24);
TN_AT_(tn_layer, hidden_size, 32);
TN_AT_(tn_layer, intermediate_size, 40);
TN_AT_(tn_layer, max_seq_len, 48);
TN_AT_(tn_layer, norm_eps, 56);
TN_AT_(tn_layer, positions, 64);
TN_AT_(tn_layer, rng, 68);
TN_AT_(tn_layer, first, 72);
TN_AT_(tn_layer, reserved, 76);

TN_SIZE_(tn_hf_writer, 64);
TN_AT_(tn_hf_writer, struct_size, 0);
TN_AT_(tn_hf_writer, reserved, 4);
TN_AT_(tn_hf_writer, to, 8);
TN_AT_(tn_hf_writer, number, 16);
TN_AT_(tn_hf_writer, boolean, 24);
TN_AT_(tn_hf_writer, string, 32);
TN_AT_(tn_hf_writer, null, 40);
TN_AT_(tn_hf_writer, real, 48);
TN_AT_(tn_hf_writer, reals, 56);

TN_SIZE_(tn_hf_name, 16);
TN_AT_(tn_hf_name, ours, 0);
TN_AT_(tn_hf_name, theirs, 8);

TN_SIZE_(tn_arch_context, 80);
TN_AT_(tn_arch_context, struct_size, 0);
TN_AT_(tn_arch_context, reserved, 4);
TN_AT_(tn_arch_context, hidden_size, 8);
TN_AT_(tn_arch_context, max_seq_len, 16);
TN_AT_(tn_arch_context, mlp_type, 24);
TN_AT_(tn_arch_context, mlp_activation, 32);
TN_AT_(tn_arch_context, layer_count, 40);
TN_AT_(tn_arch_context, norm_eps, 48);
TN_AT_(tn_arch_context, num_experts, 56);
TN_AT_(tn_arch_context, shared_experts, 64);
TN_AT_(tn_arch_context, norm_topk_prob, 72);
TN_AT_(tn_arch_context, reserved2, 76);

TN_SIZE_(tn_arch, 72);
TN_AT_(tn_arch, summary, 0);
TN_AT_(tn_arch, options, 8);
TN_AT_(tn_arch, check, 32);
TN_AT_(tn_arch, forward, 40);
TN_AT_(tn_arch, hugging_face, 48);
TN_AT_(tn_arch, hf_names, 56);
TN_AT_(tn_arch, hf_name_count, 64);
TN_AT_(tn_arch, reserved, 68);

/* ---- optimizer.h ---- */

TN_SIZE_(tn_state_spec, 8);
TN_AT_(tn_state_spec, name, 0);

TN_SIZE_(tn_slot, 40);
TN_AT_(tn_slot, struct_size, 0);
TN_AT_(tn_slot, reserved, 4);
TN_AT_(tn_slot, param, 8);
TN_AT_(tn_slot, grad, 12);
TN_AT_(tn_slot, lr, 16);
TN_AT_(tn_slot, step, 20);
TN_AT_(tn_slot, state, 24);

TN_SIZE_(tn_optimizer, 56);
TN_AT_(tn_optimizer, summary, 0);
TN_AT_(tn_optimizer, options, 8);
TN_AT_(tn_optimizer, state, 32);
TN_AT_(tn_optimizer, state_count, 40);
TN_AT_(tn_optimizer, per_matrix, 44);
TN_AT_(tn_optimizer, step, 48);

/* ---- dataset.h ---- */

TN_SIZE_(tn_dataset_request, 48);
TN_AT_(tn_dataset_request, struct_size, 0);
TN_AT_(tn_dataset_request, reserved, 4);
TN_AT_(tn_dataset_request, batch_size, 8);
TN_AT_(tn_dataset_request, seq_len, 16);
TN_AT_(tn_dataset_request, vocab_size, 24);
TN_AT_(tn_dataset_request, seed, 32);
TN_AT_(tn_dataset_request, tokenizer, 40);

TN_SIZE_(tn_batch, 40);
TN_AT_(tn_batch, struct_size, 0);
TN_AT_(tn_batch, reserved, 4);
TN_AT_(tn_batch, tokens, 8);
TN_AT_(tn_batch, targets, 16);
TN_AT_(tn_batch, bytes, 24);
TN_AT_(tn_batch, segments, 32);

TN_SIZE_(tn_dataset_info, 24);
TN_AT_(tn_dataset_info, struct_size, 0);
TN_AT_(tn_dataset_info, reserved, 4);
TN_AT_(tn_dataset_info, rows_per_epoch, 8);
TN_AT_(tn_dataset_info, tokens, 16);

TN_SIZE_(tn_cursor, 64);
TN_AT_(tn_cursor, word, 0);

TN_SIZE_(tn_dataset, 88);
TN_AT_(tn_dataset, summary, 0);
TN_AT_(tn_dataset, options, 8);
TN_AT_(tn_dataset, open, 32);
TN_AT_(tn_dataset, close, 40);
TN_AT_(tn_dataset, info, 48);
TN_AT_(tn_dataset, next, 56);
TN_AT_(tn_dataset, save, 64);
TN_AT_(tn_dataset, restore, 72);
TN_AT_(tn_dataset, segments, 80);

/* ---- tokenizer.h ---- */

TN_SIZE_(tn_tokenizer_training, 40);
TN_AT_(tn_tokenizer_training, struct_size, 0);
TN_AT_(tn_tokenizer_training, reserved, 4);
TN_AT_(tn_tokenizer_training, vocab_size, 8);
TN_AT_(tn_tokenizer_training, from, 16);
TN_AT_(tn_tokenizer_training, next, 24);
TN_AT_(tn_tokenizer_training, progress, 32);

TN_SIZE_(tn_tokenizer, 96);
TN_AT_(tn_tokenizer, summary, 0);
TN_AT_(tn_tokenizer, options, 8);
TN_AT_(tn_tokenizer, open, 32);
TN_AT_(tn_tokenizer, close, 40);
TN_AT_(tn_tokenizer, vocab_size, 48);
TN_AT_(tn_tokenizer, encode, 56);
TN_AT_(tn_tokenizer, bytes_of, 64);
TN_AT_(tn_tokenizer, special, 72);
TN_AT_(tn_tokenizer, special_at, 80);
TN_AT_(tn_tokenizer, train, 88);

TN_SIZE_(tn_tokenizer_handle, 32);
TN_AT_(tn_tokenizer_handle, struct_size, 0);
TN_AT_(tn_tokenizer_handle, reserved, 4);
TN_AT_(tn_tokenizer_handle, vtable, 8);
TN_AT_(tn_tokenizer_handle, self, 16);
TN_AT_(tn_tokenizer_handle, identity, 24);

/* ---- schedule.h ---- */

TN_SIZE_(tn_schedule, 48);
TN_AT_(tn_schedule, summary, 0);
TN_AT_(tn_schedule, options, 8);
TN_AT_(tn_schedule, check, 32);
TN_AT_(tn_schedule, multiplier, 40);

TN_SIZE_(tn_stream_extension, 32);
TN_AT_(tn_stream_extension, struct_size, 0);
TN_AT_(tn_stream_extension, reserved, 4);
TN_AT_(tn_stream_extension, memory, 8);
TN_AT_(tn_stream_extension, address, 16);
TN_AT_(tn_stream_extension, stream, 24);

/* ---- communicator.h ---- */

TN_SIZE_(tn_communicator_info, 32);
TN_AT_(tn_communicator_info, struct_size, 0);
TN_AT_(tn_communicator_info, rank, 4);
TN_AT_(tn_communicator_info, size, 8);
TN_AT_(tn_communicator_info, local_rank, 12);
TN_AT_(tn_communicator_info, local_size, 16);
TN_AT_(tn_communicator_info, reserved, 20);
TN_AT_(tn_communicator_info, memory, 24);

TN_SIZE_(tn_communicator, 72);
TN_AT_(tn_communicator, summary, 0);
TN_AT_(tn_communicator, options, 8);
TN_AT_(tn_communicator, probe, 32);
TN_AT_(tn_communicator, open, 40);
TN_AT_(tn_communicator, close, 48);
TN_AT_(tn_communicator, info, 56);
TN_AT_(tn_communicator, all_reduce, 64);

/* ---- builder.h ---- */

TN_SIZE_(tn_builder_api, 48);
TN_AT_(tn_builder_api, struct_size, 0);
TN_AT_(tn_builder_api, reserved, 4);
TN_AT_(tn_builder_api, op, 8);
TN_AT_(tn_builder_api, custom, 16);
TN_AT_(tn_builder_api, info, 24);
TN_AT_(tn_builder_api, fail, 32);
TN_AT_(tn_builder_api, name, 40);

TN_SIZE_(tn_builder, 24);
TN_AT_(tn_builder, struct_size, 0);
TN_AT_(tn_builder, dtype, 4);
TN_AT_(tn_builder, failed, 8);
TN_AT_(tn_builder, next_stream, 12);
TN_AT_(tn_builder, api, 16);

/* ---- numbers of base.h ---- */

TN_NUMBER_(TN_OK, 0);
TN_NUMBER_(TN_EINVALID, 1);
TN_NUMBER_(TN_ESHAPE, 2);
TN_NUMBER_(TN_EIO, 3);
TN_NUMBER_(TN_EFORMAT, 4);
TN_NUMBER_(TN_ENOTFOUND, 5);
TN_NUMBER_(TN_ENOMEM, 6);
TN_NUMBER_(TN_EUNSUPPORTED, 7);
TN_NUMBER_(TN_EREFUSED, 8);
TN_NUMBER_(TN_EDEVICE, 9);
TN_NUMBER_(TN_ENONFINITE, 10);
TN_NUMBER_(TN_EINTERRUPTED, 11);
TN_NUMBER_(TN_EEND, 12);
TN_NUMBER_(TN_DTYPE_NONE, 0);
TN_NUMBER_(TN_F32, 1);
TN_NUMBER_(TN_F64, 2);
TN_NUMBER_(TN_BF16, 3);
TN_NUMBER_(TN_F16, 4);
TN_NUMBER_(TN_I32, 5);
TN_NUMBER_(TN_U16, 6);
TN_NUMBER_(TN_U8, 7);
TN_NUMBER_(TN_I8, 8);
TN_NUMBER_(TN_Q8_0, 9);
TN_NUMBER_(TN_Q4_K, 10);

/* ---- numbers of host.h ---- */

TN_NUMBER_(TN_LOG_DEBUG, 0);
TN_NUMBER_(TN_LOG_INFO, 1);
TN_NUMBER_(TN_LOG_WARNING, 2);
TN_NUMBER_(TN_LOG_ERROR, 3);

/* ---- numbers of option.h ---- */

TN_NUMBER_(TN_OPTION_KIND_BOOL, 1);
TN_NUMBER_(TN_OPTION_KIND_INT, 2);
TN_NUMBER_(TN_OPTION_KIND_FLOAT, 3);
TN_NUMBER_(TN_OPTION_KIND_STRING, 4);
TN_NUMBER_(TN_OPTION_KIND_ENUM, 5);
TN_NUMBER_(TN_OPTION_KIND_FLOATS, 6);
TN_NUMBER_(TN_OPTION_KIND_STRINGS, 7);
TN_NUMBER_(TN_OPTION_KIND_PATH, 8);
TN_NUMBER_(TN_OPTION_KIND_PATHS, 9);
TN_NUMBER_(TN_OPTION_REQUIRED, 1);

/* ---- numbers of plugin.h ---- */

TN_NUMBER_(TN_KIND_BACKEND, 1);
TN_NUMBER_(TN_KIND_ARCH, 2);
TN_NUMBER_(TN_KIND_OPTIMIZER, 3);
TN_NUMBER_(TN_KIND_DATASET, 4);
TN_NUMBER_(TN_KIND_TOKENIZER, 5);
TN_NUMBER_(TN_KIND_SCHEDULE, 6);
TN_NUMBER_(TN_KIND_COMMUNICATOR, 7);

/* ---- numbers of op.h ---- */

TN_NUMBER_(TN_OP_PARAM, 1);
TN_NUMBER_(TN_OP_INPUT, 2);
TN_NUMBER_(TN_OP_SCALAR, 3);
TN_NUMBER_(TN_OP_STATE, 4);
TN_NUMBER_(TN_OP_SLOT, 5);
TN_NUMBER_(TN_OP_VIEW, 8);
TN_NUMBER_(TN_OP_STOP_GRADIENT, 9);
TN_NUMBER_(TN_OP_MAP, 16);
TN_NUMBER_(TN_OP_REDUCE, 17);
TN_NUMBER_(TN_OP_CUMSUM, 18);
TN_NUMBER_(TN_OP_MATMUL, 19);
TN_NUMBER_(TN_OP_COPY, 20);
TN_NUMBER_(TN_OP_CONCAT, 21);
TN_NUMBER_(TN_OP_GATHER_ROWS, 22);
TN_NUMBER_(TN_OP_SCATTER_ADD_ROWS, 23);
TN_NUMBER_(TN_OP_SET_ROWS, 24);
TN_NUMBER_(TN_OP_ASSIGN, 25);
TN_NUMBER_(TN_OP_TOPK, 26);
TN_NUMBER_(TN_OP_ARGMAX, 27);
TN_NUMBER_(TN_OP_EXPERT_PLAN, 28);
TN_NUMBER_(TN_OP_GROUPED_MATMUL, 29);
TN_NUMBER_(TN_OP_FILL, 30);
TN_NUMBER_(TN_OP_RMS_NORM, 64);
TN_NUMBER_(TN_OP_RMS_NORM_BWD, 65);
TN_NUMBER_(TN_OP_SOFTMAX, 68);
TN_NUMBER_(TN_OP_SOFTMAX_BWD, 69);
TN_NUMBER_(TN_OP_ROPE, 70);
TN_NUMBER_(TN_OP_ATTENTION, 71);
TN_NUMBER_(TN_OP_ATTENTION_BWD, 72);
TN_NUMBER_(TN_OP_LINEAR_CROSS_ENTROPY, 73);
TN_NUMBER_(TN_OP_LINEAR_CROSS_ENTROPY_BWD, 74);
TN_NUMBER_(TN_OP_CONV1D_CAUSAL, 75);
TN_NUMBER_(TN_OP_CONV1D_CAUSAL_BWD, 76);
TN_NUMBER_(TN_OP_SSD_SCAN, 77);
TN_NUMBER_(TN_OP_SSD_SCAN_BWD, 78);
TN_NUMBER_(TN_OP_NEWTON_SCHULZ, 82);
TN_NUMBER_(TN_OP_DROPOUT, 84);
TN_NUMBER_(TN_OP_COUNT, 128);
TN_NUMBER_(TN_OP_CUSTOM, 128);
TN_NUMBER_(TN_TIER_LEAF, 0);
TN_NUMBER_(TN_TIER_VIEW, 1);
TN_NUMBER_(TN_TIER_PRIMITIVE, 2);
TN_NUMBER_(TN_TIER_COMPOSITE, 3);
TN_NUMBER_(TN_VIEW_RESHAPE, 1);
TN_NUMBER_(TN_VIEW_PERMUTE, 2);
TN_NUMBER_(TN_VIEW_SLICE, 3);
TN_NUMBER_(TN_VIEW_BROADCAST, 4);
TN_NUMBER_(TN_REDUCE_SUM, 1);
TN_NUMBER_(TN_REDUCE_MAX, 2);
TN_NUMBER_(TN_REDUCE_MIN, 3);

/* ---- numbers of map.h ---- */

TN_NUMBER_(TN_MAP_MAX_INSTRUCTIONS, 64);
TN_NUMBER_(TN_MAP_MAX_INPUTS, 12);
TN_NUMBER_(TN_MAP_MAX_OUTPUTS, 4);
TN_NUMBER_(TN_MAP_MAX_CONSTANTS, 16);
TN_NUMBER_(TN_MAP_INPUT, 1);
TN_NUMBER_(TN_MAP_CONST, 2);
TN_NUMBER_(TN_MAP_INDEX, 3);
TN_NUMBER_(TN_MAP_RANDOM, 4);
TN_NUMBER_(TN_MAP_NEG, 16);
TN_NUMBER_(TN_MAP_ABS, 17);
TN_NUMBER_(TN_MAP_SQRT, 18);
TN_NUMBER_(TN_MAP_RSQRT, 19);
TN_NUMBER_(TN_MAP_EXP, 20);
TN_NUMBER_(TN_MAP_EXPM1, 21);
TN_NUMBER_(TN_MAP_LOG, 22);
TN_NUMBER_(TN_MAP_LOG1P, 23);
TN_NUMBER_(TN_MAP_TANH, 24);
TN_NUMBER_(TN_MAP_SIGMOID, 25);
TN_NUMBER_(TN_MAP_ERF, 26);
TN_NUMBER_(TN_MAP_SIN, 27);
TN_NUMBER_(TN_MAP_COS, 28);
TN_NUMBER_(TN_MAP_FLOOR, 29);
TN_NUMBER_(TN_MAP_ROUND, 30);
TN_NUMBER_(TN_MAP_SIGN, 31);
TN_NUMBER_(TN_MAP_NOT, 32);
TN_NUMBER_(TN_MAP_FINITE, 33);
TN_NUMBER_(TN_MAP_ADD, 48);
TN_NUMBER_(TN_MAP_SUB, 49);
TN_NUMBER_(TN_MAP_MUL, 50);
TN_NUMBER_(TN_MAP_DIV, 51);
TN_NUMBER_(TN_MAP_MIN, 52);
TN_NUMBER_(TN_MAP_MAX, 53);
TN_NUMBER_(TN_MAP_POW, 54);
TN_NUMBER_(TN_MAP_LT, 55);
TN_NUMBER_(TN_MAP_LE, 56);
TN_NUMBER_(TN_MAP_EQ, 57);
TN_NUMBER_(TN_MAP_AND, 58);
TN_NUMBER_(TN_MAP_OR, 59);
TN_NUMBER_(TN_MAP_FMA, 64);
TN_NUMBER_(TN_MAP_SELECT, 65);

/* ---- numbers of plan.h ---- */

TN_NUMBER_(TN_ARENA_PARAM, 1);
TN_NUMBER_(TN_ARENA_GRAD, 2);
TN_NUMBER_(TN_ARENA_OPTIMIZER, 3);
TN_NUMBER_(TN_ARENA_STATE, 4);
TN_NUMBER_(TN_ARENA_INPUT, 5);
TN_NUMBER_(TN_ARENA_SCALAR, 6);
TN_NUMBER_(TN_ARENA_METRIC, 7);
TN_NUMBER_(TN_ARENA_TRANSIENT, 8);
TN_NUMBER_(TN_ARENA_COPY, 9);
TN_NUMBER_(TN_ARENA_COUNT, 10);
TN_NUMBER_(TN_ALIGNMENT, 256);

/* ---- numbers of backend.h ---- */

TN_NUMBER_(TN_PRECISION_F32, 1);
TN_NUMBER_(TN_PRECISION_BF16, 2);
TN_NUMBER_(TN_PRECISION_F64, 4);
TN_NUMBER_(TN_WEIGHTS_Q8_0, 256);
TN_NUMBER_(TN_WEIGHTS_Q4_K, 512);
TN_NUMBER_(TN_UNIFIED_MEMORY, 1);
TN_NUMBER_(TN_READS_FIRST, 2);

/* ---- numbers of arch.h ---- */

TN_NUMBER_(TN_INIT_NORMAL, 1);
TN_NUMBER_(TN_INIT_RESIDUAL, 2);
TN_NUMBER_(TN_INIT_CONSTANT, 3);
TN_NUMBER_(TN_INIT_UNIFORM, 4);
TN_NUMBER_(TN_INIT_LOG_UNIFORM, 5);
TN_NUMBER_(TN_INIT_SOFTPLUS_INVERSE, 6);

/* ---- numbers of optimizer.h ---- */

TN_NUMBER_(TN_OPTIMIZER_MAX_STATE, 4);

/* ---- numbers of dataset.h ---- */

TN_NUMBER_(TN_CURSOR_WORDS, 8);

#undef TN_ASSERT_
#undef TN_SIZE_
#undef TN_AT_
#undef TN_NUMBER_

#endif
