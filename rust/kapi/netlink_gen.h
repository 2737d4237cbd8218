/* SPDX-License-Identifier: ((GPL-2.0 WITH Linux-syscall-note) OR BSD-3-Clause) */
/* Do not edit directly, auto-generated from: */
/*	Documentation/netlink/specs/remote-copy.yaml */
/* YNL-GEN kernel header */
/* To regenerate run: tools/net/ynl/ynl-regen.sh */

#ifndef _LINUX_REMOTE_COPY_GEN_H
#define _LINUX_REMOTE_COPY_GEN_H

#include <net/netlink.h>
#include <net/genetlink.h>

#include <uapi/linux/remote-copy.h>

int remote_copy_nl_info_get_doit(struct sk_buff *skb, struct genl_info *info);
int remote_copy_nl_set_get_doit(struct sk_buff *skb, struct genl_info *info);
int remote_copy_nl_set_get_dumpit(struct sk_buff *skb,
				  struct netlink_callback *cb);
int remote_copy_nl_set_set_doit(struct sk_buff *skb, struct genl_info *info);
int remote_copy_nl_takeover_doit(struct sk_buff *skb, struct genl_info *info);
int remote_copy_nl_swap_doit(struct sk_buff *skb, struct genl_info *info);
int remote_copy_nl_pause_doit(struct sk_buff *skb, struct genl_info *info);
int remote_copy_nl_resume_doit(struct sk_buff *skb, struct genl_info *info);
int remote_copy_nl_detach_doit(struct sk_buff *skb, struct genl_info *info);
int remote_copy_nl_in_step_doit(struct sk_buff *skb, struct genl_info *info);
int remote_copy_nl_volume_get_doit(struct sk_buff *skb, struct genl_info *info);
int remote_copy_nl_volume_get_dumpit(struct sk_buff *skb,
				     struct netlink_callback *cb);
int remote_copy_nl_link_get_doit(struct sk_buff *skb, struct genl_info *info);
int remote_copy_nl_link_get_dumpit(struct sk_buff *skb,
				   struct netlink_callback *cb);
int remote_copy_nl_log_get_doit(struct sk_buff *skb, struct genl_info *info);
int remote_copy_nl_log_get_dumpit(struct sk_buff *skb,
				  struct netlink_callback *cb);
int remote_copy_nl_stats_get_doit(struct sk_buff *skb, struct genl_info *info);
int remote_copy_nl_stats_get_dumpit(struct sk_buff *skb,
				    struct netlink_callback *cb);

enum {
	REMOTE_COPY_NLGRP_EVENTS,
};

extern struct genl_family remote_copy_nl_family;

#endif /* _LINUX_REMOTE_COPY_GEN_H */
