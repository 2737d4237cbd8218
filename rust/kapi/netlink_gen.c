// SPDX-License-Identifier: ((GPL-2.0 WITH Linux-syscall-note) OR BSD-3-Clause)
/* Do not edit directly, auto-generated from: */
/*	Documentation/netlink/specs/remote-copy.yaml */
/* YNL-GEN kernel source */
/* To regenerate run: tools/net/ynl/ynl-regen.sh */

#include <net/netlink.h>
#include <net/genetlink.h>

#include "netlink_gen.h"

#include <uapi/linux/remote-copy.h>

/* Integer value ranges */
static const struct netlink_range_validation remote_copy_a_set_ping_ms_range = {
	.min	= 10ULL,
	.max	= 60000ULL,
};

static const struct netlink_range_validation remote_copy_a_set_records_range = {
	.min	= 16ULL,
	.max	= 1048576ULL,
};

/* REMOTE_COPY_CMD_SET_GET - do */
static const struct nla_policy remote_copy_set_get_nl_policy[REMOTE_COPY_A_SET_NAME + 1] = {
	[REMOTE_COPY_A_SET_NAME] = { .type = NLA_NUL_STRING, .len = REMOTE_COPY_MAX_SET_NAME, },
};

/* REMOTE_COPY_CMD_SET_SET - do */
static const struct nla_policy remote_copy_set_set_nl_policy[REMOTE_COPY_A_SET_RECORDS + 1] = {
	[REMOTE_COPY_A_SET_NAME] = { .type = NLA_NUL_STRING, .len = REMOTE_COPY_MAX_SET_NAME, },
	[REMOTE_COPY_A_SET_MODE] = NLA_POLICY_MAX(NLA_U32, 1),
	[REMOTE_COPY_A_SET_PARTNER_LOST] = NLA_POLICY_MAX(NLA_U32, 1),
	[REMOTE_COPY_A_SET_TAKEOVER] = NLA_POLICY_MAX(NLA_U32, 1),
	[REMOTE_COPY_A_SET_FENCING] = NLA_POLICY_MAX(NLA_U32, 4),
	[REMOTE_COPY_A_SET_PING_MS] = NLA_POLICY_FULL_RANGE(NLA_U32, &remote_copy_a_set_ping_ms_range),
	[REMOTE_COPY_A_SET_PING_MISSES] = NLA_POLICY_RANGE(NLA_U32, 2, 100),
	[REMOTE_COPY_A_SET_FORCE] = { .type = NLA_FLAG, },
	[REMOTE_COPY_A_SET_RECORDS] = NLA_POLICY_FULL_RANGE(NLA_U32, &remote_copy_a_set_records_range),
};

/* REMOTE_COPY_CMD_TAKEOVER - do */
static const struct nla_policy remote_copy_takeover_nl_policy[REMOTE_COPY_A_SET_FORCE + 1] = {
	[REMOTE_COPY_A_SET_NAME] = { .type = NLA_NUL_STRING, .len = REMOTE_COPY_MAX_SET_NAME, },
	[REMOTE_COPY_A_SET_FORCE] = { .type = NLA_FLAG, },
};

/* REMOTE_COPY_CMD_SWAP - do */
static const struct nla_policy remote_copy_swap_nl_policy[REMOTE_COPY_A_SET_NAME + 1] = {
	[REMOTE_COPY_A_SET_NAME] = { .type = NLA_NUL_STRING, .len = REMOTE_COPY_MAX_SET_NAME, },
};

/* REMOTE_COPY_CMD_PAUSE - do */
static const struct nla_policy remote_copy_pause_nl_policy[REMOTE_COPY_A_SET_FORCE + 1] = {
	[REMOTE_COPY_A_SET_NAME] = { .type = NLA_NUL_STRING, .len = REMOTE_COPY_MAX_SET_NAME, },
	[REMOTE_COPY_A_SET_FORCE] = { .type = NLA_FLAG, },
};

/* REMOTE_COPY_CMD_RESUME - do */
static const struct nla_policy remote_copy_resume_nl_policy[REMOTE_COPY_A_SET_NAME + 1] = {
	[REMOTE_COPY_A_SET_NAME] = { .type = NLA_NUL_STRING, .len = REMOTE_COPY_MAX_SET_NAME, },
};

/* REMOTE_COPY_CMD_DETACH - do */
static const struct nla_policy remote_copy_detach_nl_policy[REMOTE_COPY_A_SET_FORCE + 1] = {
	[REMOTE_COPY_A_SET_NAME] = { .type = NLA_NUL_STRING, .len = REMOTE_COPY_MAX_SET_NAME, },
	[REMOTE_COPY_A_SET_FORCE] = { .type = NLA_FLAG, },
};

/* REMOTE_COPY_CMD_IN_STEP - do */
static const struct nla_policy remote_copy_in_step_nl_policy[REMOTE_COPY_A_SET_FORCE + 1] = {
	[REMOTE_COPY_A_SET_NAME] = { .type = NLA_NUL_STRING, .len = REMOTE_COPY_MAX_SET_NAME, },
	[REMOTE_COPY_A_SET_FORCE] = { .type = NLA_FLAG, },
};

/* REMOTE_COPY_CMD_VOLUME_GET - do */
static const struct nla_policy remote_copy_volume_get_do_nl_policy[REMOTE_COPY_A_VOLUME_MEMBER + 1] = {
	[REMOTE_COPY_A_VOLUME_SET] = { .type = NLA_NUL_STRING, .len = REMOTE_COPY_MAX_SET_NAME, },
	[REMOTE_COPY_A_VOLUME_MEMBER] = NLA_POLICY_MAX(NLA_U32, 63),
};

/* REMOTE_COPY_CMD_VOLUME_GET - dump */
static const struct nla_policy remote_copy_volume_get_dump_nl_policy[REMOTE_COPY_A_VOLUME_SET + 1] = {
	[REMOTE_COPY_A_VOLUME_SET] = { .type = NLA_NUL_STRING, .len = REMOTE_COPY_MAX_SET_NAME, },
};

/* REMOTE_COPY_CMD_LINK_GET - do */
static const struct nla_policy remote_copy_link_get_do_nl_policy[REMOTE_COPY_A_LINK_MEMBER + 1] = {
	[REMOTE_COPY_A_LINK_SET] = { .type = NLA_NUL_STRING, .len = REMOTE_COPY_MAX_SET_NAME, },
	[REMOTE_COPY_A_LINK_KIND] = NLA_POLICY_MAX(NLA_U32, 1),
	[REMOTE_COPY_A_LINK_MEMBER] = NLA_POLICY_MAX(NLA_U32, 63),
};

/* REMOTE_COPY_CMD_LINK_GET - dump */
static const struct nla_policy remote_copy_link_get_dump_nl_policy[REMOTE_COPY_A_LINK_SET + 1] = {
	[REMOTE_COPY_A_LINK_SET] = { .type = NLA_NUL_STRING, .len = REMOTE_COPY_MAX_SET_NAME, },
};

/* REMOTE_COPY_CMD_LOG_GET - do */
static const struct nla_policy remote_copy_log_get_nl_policy[REMOTE_COPY_A_LOG_SET + 1] = {
	[REMOTE_COPY_A_LOG_SET] = { .type = NLA_NUL_STRING, .len = REMOTE_COPY_MAX_SET_NAME, },
};

/* REMOTE_COPY_CMD_STATS_GET - do */
static const struct nla_policy remote_copy_stats_get_nl_policy[REMOTE_COPY_A_STATS_SET + 1] = {
	[REMOTE_COPY_A_STATS_SET] = { .type = NLA_NUL_STRING, .len = REMOTE_COPY_MAX_SET_NAME, },
};

/* Ops table for remote_copy */
static const struct genl_split_ops remote_copy_nl_ops[] = {
	{
		.cmd	= REMOTE_COPY_CMD_INFO_GET,
		.doit	= remote_copy_nl_info_get_doit,
		.flags	= GENL_CMD_CAP_DO,
	},
	{
		.cmd		= REMOTE_COPY_CMD_SET_GET,
		.doit		= remote_copy_nl_set_get_doit,
		.policy		= remote_copy_set_get_nl_policy,
		.maxattr	= REMOTE_COPY_A_SET_NAME,
		.flags		= GENL_CMD_CAP_DO,
	},
	{
		.cmd	= REMOTE_COPY_CMD_SET_GET,
		.dumpit	= remote_copy_nl_set_get_dumpit,
		.flags	= GENL_CMD_CAP_DUMP,
	},
	{
		.cmd		= REMOTE_COPY_CMD_SET_SET,
		.doit		= remote_copy_nl_set_set_doit,
		.policy		= remote_copy_set_set_nl_policy,
		.maxattr	= REMOTE_COPY_A_SET_RECORDS,
		.flags		= GENL_ADMIN_PERM | GENL_CMD_CAP_DO,
	},
	{
		.cmd		= REMOTE_COPY_CMD_TAKEOVER,
		.doit		= remote_copy_nl_takeover_doit,
		.policy		= remote_copy_takeover_nl_policy,
		.maxattr	= REMOTE_COPY_A_SET_FORCE,
		.flags		= GENL_ADMIN_PERM | GENL_CMD_CAP_DO,
	},
	{
		.cmd		= REMOTE_COPY_CMD_SWAP,
		.doit		= remote_copy_nl_swap_doit,
		.policy		= remote_copy_swap_nl_policy,
		.maxattr	= REMOTE_COPY_A_SET_NAME,
		.flags		= GENL_ADMIN_PERM | GENL_CMD_CAP_DO,
	},
	{
		.cmd		= REMOTE_COPY_CMD_PAUSE,
		.doit		= remote_copy_nl_pause_doit,
		.policy		= remote_copy_pause_nl_policy,
		.maxattr	= REMOTE_COPY_A_SET_FORCE,
		.flags		= GENL_ADMIN_PERM | GENL_CMD_CAP_DO,
	},
	{
		.cmd		= REMOTE_COPY_CMD_RESUME,
		.doit		= remote_copy_nl_resume_doit,
		.policy		= remote_copy_resume_nl_policy,
		.maxattr	= REMOTE_COPY_A_SET_NAME,
		.flags		= GENL_ADMIN_PERM | GENL_CMD_CAP_DO,
	},
	{
		.cmd		= REMOTE_COPY_CMD_DETACH,
		.doit		= remote_copy_nl_detach_doit,
		.policy		= remote_copy_detach_nl_policy,
		.maxattr	= REMOTE_COPY_A_SET_FORCE,
		.flags		= GENL_ADMIN_PERM | GENL_CMD_CAP_DO,
	},
	{
		.cmd		= REMOTE_COPY_CMD_IN_STEP,
		.doit		= remote_copy_nl_in_step_doit,
		.policy		= remote_copy_in_step_nl_policy,
		.maxattr	= REMOTE_COPY_A_SET_FORCE,
		.flags		= GENL_ADMIN_PERM | GENL_CMD_CAP_DO,
	},
	{
		.cmd		= REMOTE_COPY_CMD_VOLUME_GET,
		.doit		= remote_copy_nl_volume_get_doit,
		.policy		= remote_copy_volume_get_do_nl_policy,
		.maxattr	= REMOTE_COPY_A_VOLUME_MEMBER,
		.flags		= GENL_CMD_CAP_DO,
	},
	{
		.cmd		= REMOTE_COPY_CMD_VOLUME_GET,
		.dumpit		= remote_copy_nl_volume_get_dumpit,
		.policy		= remote_copy_volume_get_dump_nl_policy,
		.maxattr	= REMOTE_COPY_A_VOLUME_SET,
		.flags		= GENL_CMD_CAP_DUMP,
	},
	{
		.cmd		= REMOTE_COPY_CMD_LINK_GET,
		.doit		= remote_copy_nl_link_get_doit,
		.policy		= remote_copy_link_get_do_nl_policy,
		.maxattr	= REMOTE_COPY_A_LINK_MEMBER,
		.flags		= GENL_CMD_CAP_DO,
	},
	{
		.cmd		= REMOTE_COPY_CMD_LINK_GET,
		.dumpit		= remote_copy_nl_link_get_dumpit,
		.policy		= remote_copy_link_get_dump_nl_policy,
		.maxattr	= REMOTE_COPY_A_LINK_SET,
		.flags		= GENL_CMD_CAP_DUMP,
	},
	{
		.cmd		= REMOTE_COPY_CMD_LOG_GET,
		.doit		= remote_copy_nl_log_get_doit,
		.policy		= remote_copy_log_get_nl_policy,
		.maxattr	= REMOTE_COPY_A_LOG_SET,
		.flags		= GENL_CMD_CAP_DO,
	},
	{
		.cmd	= REMOTE_COPY_CMD_LOG_GET,
		.dumpit	= remote_copy_nl_log_get_dumpit,
		.flags	= GENL_CMD_CAP_DUMP,
	},
	{
		.cmd		= REMOTE_COPY_CMD_STATS_GET,
		.doit		= remote_copy_nl_stats_get_doit,
		.policy		= remote_copy_stats_get_nl_policy,
		.maxattr	= REMOTE_COPY_A_STATS_SET,
		.flags		= GENL_CMD_CAP_DO,
	},
	{
		.cmd	= REMOTE_COPY_CMD_STATS_GET,
		.dumpit	= remote_copy_nl_stats_get_dumpit,
		.flags	= GENL_CMD_CAP_DUMP,
	},
};

static const struct genl_multicast_group remote_copy_nl_mcgrps[] = {
	[REMOTE_COPY_NLGRP_EVENTS] = { "events", },
};

struct genl_family remote_copy_nl_family __ro_after_init = {
	.name		= REMOTE_COPY_FAMILY_NAME,
	.version	= REMOTE_COPY_FAMILY_VERSION,
	.netnsok	= true,
	.parallel_ops	= true,
	.module		= THIS_MODULE,
	.split_ops	= remote_copy_nl_ops,
	.n_split_ops	= ARRAY_SIZE(remote_copy_nl_ops),
	.mcgrps		= remote_copy_nl_mcgrps,
	.n_mcgrps	= ARRAY_SIZE(remote_copy_nl_mcgrps),
};
