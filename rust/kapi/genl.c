// SPDX-License-Identifier: GPL-2.0
/*
 * Generic netlink for genl.rs: the generated family's entry points, and what the kernel offers only
 * as macros and inline functions. The contexts and the contracts stand at the callers, in Rust.
 */

#include <linux/mutex.h>
#include <net/genetlink.h>
#include <net/net_namespace.h>
#include <net/netlink.h>
#include <net/netns/generic.h>

#include "genl.h"
#include "netlink_gen.h"

/* Of each network namespace: how many events were sent in it. */
struct kapi_genl_events {
	struct mutex lock;
	u64 sent;
};

static unsigned int events_id;
static const struct kapi_genl_handlers *handlers;

static int __net_init events_init(struct net *net)
{
	struct kapi_genl_events *e = net_generic(net, events_id);

	mutex_init(&e->lock);
	e->sent = 0;
	return 0;
}

static struct pernet_operations events_ops = {
	.init = events_init,
	.id = &events_id,
	.size = sizeof(struct kapi_genl_events),
};

/* Nobody calls the handlers before the family is there, nor after it is gone. */
int kapi_genl_register(const struct kapi_genl_handlers *h)
{
	int err;

	handlers = h;
	err = register_pernet_subsys(&events_ops);
	if (err)
		return err;
	err = genl_register_family(&remote_copy_nl_family);
	if (err)
		unregister_pernet_subsys(&events_ops);
	return err;
}

/* Waits for operations; a dump that is open holds the module. */
void kapi_genl_unregister(void)
{
	genl_unregister_family(&remote_copy_nl_family);
	unregister_pernet_subsys(&events_ops);
}

#define DO(op)									\
	int remote_copy_nl_##op##_doit(struct sk_buff *skb, struct genl_info *info)	\
	{									\
		return handlers->doit(skb, info);				\
	}
#define DUMP(op)								\
	int remote_copy_nl_##op##_dumpit(struct sk_buff *skb, struct netlink_callback *cb)	\
	{									\
		return handlers->dumpit(skb, cb);				\
	}

DO(info_get)
DO(set_get)
DO(set_set)
DO(takeover)
DO(swap)
DO(pause)
DO(resume)
DO(detach)
DO(in_step)
DO(volume_get)
DO(link_get)
DO(log_get)
DO(stats_get)
DUMP(set_get)
DUMP(volume_get)
DUMP(link_get)
DUMP(log_get)
DUMP(stats_get)

u8 kapi_genl_cmd(const struct genl_info *info)
{
	return info->genlhdr->cmd;
}

struct net *kapi_genl_net(const struct genl_info *info)
{
	return genl_info_net(info);
}

const struct genl_info *kapi_genl_dump_info(struct netlink_callback *cb)
{
	return genl_info_dump(cb);
}

/* The array of attributes is as long as the operation's policy: nothing is read behind its end. */
const struct nlattr *kapi_genl_attr(const struct genl_info *info, bool dump, unsigned int type)
{
	u8 way = dump ? GENL_CMD_CAP_DUMP : GENL_CMD_CAP_DO;
	const struct genl_family *family = info->family;
	int i;

	for (i = 0; i < family->n_split_ops; i++) {
		const struct genl_split_ops *op = &family->split_ops[i];

		if (op->cmd == info->genlhdr->cmd && (op->flags & way))
			return info->attrs && type && type <= op->maxattr ?
				info->attrs[type] : NULL;
	}
	return NULL;
}

size_t kapi_genl_attr_len(const struct nlattr *attr)
{
	return nla_len(attr);
}

const void *kapi_genl_attr_data(const struct nlattr *attr)
{
	return nla_data(attr);
}

void kapi_genl_say(const struct genl_info *info, const char *text, size_t len)
{
	GENL_SET_ERR_MSG_FMT(info, "%.*s", (int)min_t(size_t, len, NETLINK_MAX_FMTMSG_LEN), text);
}

void kapi_genl_bad_attr(const struct genl_info *info, const struct nlattr *attr)
{
	NL_SET_BAD_ATTR(info->extack, attr);
}

void kapi_genl_missing(const struct genl_info *info, unsigned int type)
{
	NL_SET_ERR_ATTR_MISS(info->extack, NULL, type);
}

struct sk_buff *kapi_genl_new(size_t size, bool may_sleep)
{
	return genlmsg_new(size, may_sleep ? GFP_KERNEL : GFP_NOWAIT | __GFP_NOWARN);
}

void kapi_genl_free(struct sk_buff *skb)
{
	nlmsg_free(skb);
}

void *kapi_genl_begin(struct sk_buff *skb, const struct genl_info *info, bool dump)
{
	return genlmsg_put(skb, info->snd_portid, info->snd_seq, &remote_copy_nl_family,
			   dump ? NLM_F_MULTI : 0, info->genlhdr->cmd);
}

void *kapi_genl_begin_event(struct sk_buff *skb, u8 cmd)
{
	return genlmsg_put(skb, 0, 0, &remote_copy_nl_family, 0, cmd);
}

void kapi_genl_end(struct sk_buff *skb, void *header)
{
	genlmsg_end(skb, header);
}

void kapi_genl_cancel(struct sk_buff *skb, void *header)
{
	genlmsg_cancel(skb, header);
}

int kapi_genl_reply(struct sk_buff *skb, const struct genl_info *info)
{
	return genlmsg_unicast(genl_info_net(info), skb, info->snd_portid);
}

int kapi_genl_put(struct sk_buff *skb, int type, size_t len, const void *data)
{
	return len > U16_MAX - NLA_HDRLEN ? -EMSGSIZE : nla_put(skb, type, (int)len, data);
}

int kapi_genl_put_uint(struct sk_buff *skb, int type, u64 value)
{
	return nla_put_uint(skb, type, value);
}

/* Without a NUL in the middle; it gets one at its end. */
int kapi_genl_put_text(struct sk_buff *skb, int type, const char *text, size_t len)
{
	struct nlattr *attr;
	char *to;

	if (len > U16_MAX - NLA_HDRLEN - 1)
		return -EMSGSIZE;
	attr = nla_reserve(skb, type, (int)len + 1);
	if (!attr)
		return -EMSGSIZE;
	to = nla_data(attr);
	memcpy(to, text, len);
	to[len] = 0;
	return 0;
}

struct nlattr *kapi_genl_nest(struct sk_buff *skb, int type)
{
	return nla_nest_start(skb, type);
}

void kapi_genl_nest_end(struct sk_buff *skb, struct nlattr *nest)
{
	nla_nest_end(skb, nest);
}

void kapi_genl_nest_cancel(struct sk_buff *skb, struct nlattr *nest)
{
	nla_nest_cancel(skb, nest);
}

/* Zero when a dump begins; four numbers fit. */
u64 *kapi_genl_cursor(struct netlink_callback *cb)
{
	NL_ASSERT_CTX_FITS(u64[4]);
	return (u64 *)cb->ctx;
}

/* 0 would mean that consistency is not looked at. */
void kapi_genl_dump_seq(struct netlink_callback *cb, unsigned int seq)
{
	cb->seq = seq ?: 1;
}

void kapi_genl_dump_check(struct netlink_callback *cb, void *header)
{
	genl_dump_check_consistent(cb, header);
}

int kapi_genl_dump_len(struct sk_buff *skb)
{
	return skb->len;
}

u64 *kapi_genl_lock_events(struct net *net)
{
	struct kapi_genl_events *e = net_generic(net, events_id);

	mutex_lock(&e->lock);
	return &e->sent;
}

void kapi_genl_unlock_events(struct net *net)
{
	struct kapi_genl_events *e = net_generic(net, events_id);

	mutex_unlock(&e->lock);
}

bool kapi_genl_has_listeners(struct net *net)
{
	return genl_has_listeners(&remote_copy_nl_family, net, REMOTE_COPY_NLGRP_EVENTS);
}

int kapi_genl_multicast(struct net *net, struct sk_buff *skb)
{
	return genlmsg_multicast_netns(&remote_copy_nl_family, net, skb, 0,
				       REMOTE_COPY_NLGRP_EVENTS, GFP_NOWAIT | __GFP_NOWARN);
}
