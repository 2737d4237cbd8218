/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What genl.rs needs of generic netlink: macros and inline functions, the family that is generated
 * from its specification, and what is kept for each network namespace.
 */
#ifndef KAPI_GENL_H
#define KAPI_GENL_H

#include <linux/types.h>

struct genl_info;
struct net;
struct netlink_callback;
struct nlattr;
struct sk_buff;

/* The Rust side: one function for all operations, one for all dumps. */
struct kapi_genl_handlers {
	int (*doit)(struct sk_buff *skb, struct genl_info *info);
	int (*dumpit)(struct sk_buff *skb, struct netlink_callback *cb);
};

int kapi_genl_register(const struct kapi_genl_handlers *h);
void kapi_genl_unregister(void);

/* the request */
u8 kapi_genl_cmd(const struct genl_info *info);
struct net *kapi_genl_net(const struct genl_info *info);
const struct genl_info *kapi_genl_dump_info(struct netlink_callback *cb);
const struct nlattr *kapi_genl_attr(const struct genl_info *info, bool dump, unsigned int type);
size_t kapi_genl_attr_len(const struct nlattr *attr);
const void *kapi_genl_attr_data(const struct nlattr *attr);
void kapi_genl_say(const struct genl_info *info, const char *text, size_t len);
void kapi_genl_bad_attr(const struct genl_info *info, const struct nlattr *attr);
void kapi_genl_missing(const struct genl_info *info, unsigned int type);

/* the answer */
struct sk_buff *kapi_genl_new(size_t size, bool may_sleep);
void kapi_genl_free(struct sk_buff *skb);
void *kapi_genl_begin(struct sk_buff *skb, const struct genl_info *info, bool dump);
void *kapi_genl_begin_event(struct sk_buff *skb, u8 cmd);
void kapi_genl_end(struct sk_buff *skb, void *header);
void kapi_genl_cancel(struct sk_buff *skb, void *header);
int kapi_genl_reply(struct sk_buff *skb, const struct genl_info *info);
int kapi_genl_put(struct sk_buff *skb, int type, size_t len, const void *data);
int kapi_genl_put_uint(struct sk_buff *skb, int type, u64 value);
int kapi_genl_put_text(struct sk_buff *skb, int type, const char *text, size_t len);
struct nlattr *kapi_genl_nest(struct sk_buff *skb, int type);
void kapi_genl_nest_end(struct sk_buff *skb, struct nlattr *nest);
void kapi_genl_nest_cancel(struct sk_buff *skb, struct nlattr *nest);

/* dumps */
u64 *kapi_genl_cursor(struct netlink_callback *cb);
void kapi_genl_dump_seq(struct netlink_callback *cb, unsigned int seq);
void kapi_genl_dump_check(struct netlink_callback *cb, void *header);
int kapi_genl_dump_len(struct sk_buff *skb);

/* events */
u64 *kapi_genl_lock_events(struct net *net);
void kapi_genl_unlock_events(struct net *net);
bool kapi_genl_has_listeners(struct net *net);
int kapi_genl_multicast(struct net *net, struct sk_buff *skb);

#endif /* KAPI_GENL_H */
