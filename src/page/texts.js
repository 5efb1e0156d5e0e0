"use strict";

// What the page says, in every language it speaks. A text that one language lacks is a bug, and a test finds it.
// {name} and the like are filled in by `fill` (as isolated elements) or `plain` (as a string).

const TEXTS = {
  en: {
    skip: "Skip to the message field", sidebar: "Rooms and people", log: "Messages",
    rooms: "Rooms", talks: "Private", people: "Here", newRoom: "Open or create a room", help: "Help",
    close: "Close", closeTalk: "Close this conversation and forget it", send: "Send", cancel: "Cancel", enter: "Come in",
    filter: "Find a name", nobodyFits: "Nobody listed has such a name.", menuOf: "More (→ on the keyboard)",
    talk: "Talk in private", mention: "Mention", ignore: "Ignore", unignore: "Stop ignoring", ignoredSign: "ignored",
    ignoring: "You ignore {name}: what they say is not shown. /unignore ends it. This browser remembers it, nobody is told.",
    notIgnoring: "You ignore {name} no longer.", notIgnored: "You do not ignore {name}.", ignoredAre: "You ignore {names}.", ignoredNone: "You ignore nobody.",
    notices: "Notify me when I am mentioned", noNotices: "This browser has no notifications for this page; they need HTTPS or localhost.",
    noticesDenied: "The browser forbids notifications of this page; its settings can allow them.",
    noTalks: "Click a name to talk in private.", you: "you", more: n => `and ${n} more`, here: n => `${n} here`,
    talkTo: "Talk to {name} in private", privately: "Only the two of you see this",
    writeRoom: "Write to {room}", writeTalk: "Write to {name} in private",

    nameTitle: "What shall we call you?", nameLabel: "Name", changeName: "Change your name",
    nameIntro: "Up to 32 letters and digits of any script, and _ - . Everybody here will see it.",

    connected: "Connected", notConnected: "Not connected", connecting: "Connecting …", tryNow: "Try now",
    waiting: "Connection lost. Trying again in", shutdown: "The server was shut down. Trying again in",
    offline: "This device is offline.", seconds: n => `${n} s.`,
    kept: n => n === 1 ? "Your message is kept until then." : `Your ${n} messages are kept until then.`,
    answered: text => `The server refuses the connection: ${text}.`, tryingAgain: "Trying again in",
    noUpgrade: "The server is there, but WebSocket connections do not get through; a proxy in between must pass on Upgrade.",
    retaking: "Your old connection still holds your name. Taking it back …",
    catchingUp: "Fetching what you missed …", left: "You have left the chat.", comeBack: "Come back",
    elsewhere: "You are here as {name} in another tab of this browser.", useThisTab: "Use this tab",
    keptWhere: (n, kib) => "Private conversations and drafts are kept only in this browser, on this device (local storage), for each name: "
      + `the last ${n} messages, at most ${kib} KiB. Whoever uses this browser can read them.`,
    forgetKept: "Forget private conversations and drafts", keptForgotten: "Forgotten.",
    nameless: "You are not in the room yet.", chooseName: "Choose a name", youAreIn: "You are {name} in {room}",

    emptyRoom: "Nothing said here yet", emptyRoomHint: "Write the first message below.",
    emptyTalk: "Just you and {name}", emptyTalkHint: "What you write here reaches nobody else. The server does not keep it, this browser does.",
    older: "Show older messages", beginning: "The server remembers nothing older.",
    dropped: "Older messages were dropped to keep this page quick.",
    unreadMark: "New", latest: "Latest messages ↓", fresh: n => n === 1 ? "1 new message" : `${n} new messages`,
    restarted: "The server has started anew: its history begins here.",
    gap: n => `The server no longer has ${n === 1 ? "one message" : n + " messages"} that you missed here.`,

    joined: "{name} joined", gone: "{name} left", goneWhy: "{name} left ({why})", comma: ", ",
    renamed: "{from} is now {name}", renamedYou: "You are now {name}", crowd: (i, o) => `${i} joined, ${o} left`,
    whys: { timeout: "timeout", slow: "too slow", reset: "connection lost", room: "to #{room}" },
    says: "{name}: {body}", saysPrivately: "{name} in private: {body}",

    queued: "Waiting", sent: "Sending", delivered: "Delivered", refused: "Not sent: {text}.",
    unknown: "The connection broke: this may not have arrived.", wrongRoom: "you are in another room now",
    edit: "Edit", again: "Send again", discard: "Discard",
    longTitle: "This message is too long",
    tooLong: (n, limit) => `It has ${n} bytes. A message may have ${limit} here, so it is ${n - limit} too long.`,
    splitInto: n => `Send as ${n} messages`, noSplit: n => `That would be more than ${n} messages.`,
    surplus: n => `${n} bytes too long`,
    longerThan: limit => `it is longer than ${limit} bytes`, tooLongForServer: "it is too long for the server",

    whoIs: "{total} here: {names}", roomList: "Rooms: {names}", pong: ms => `The server answered in ${ms} ms.`,
    unknownCommand: "There is no command {command}; nothing was sent. /help lists them, //x says /x.",
    usage: "This is written {usage}", roomsOnly: "This works in a room only.",
    oneLine: "A command must be the only line; nothing was sent. Code goes between ``` and ```.", noConnection: "Not connected; nothing was sent.", unsent: "There are unsent messages here.",
    errors: {}, // the server speaks English
    commands: {
      msg: ["NAME TEXT", "say something in private"], me: ["TEXT", "say what you do"], nick: ["NAME", "change your name"],
      join: ["ROOM", "go to a room; a new one is created"], who: ["", "who is here"], rooms: ["", "which rooms there are"],
      history: ["[N]", "show N older messages"], ping: ["", "measure the way to the server"], help: ["", "show this help"],
      quit: ["", "leave"],
    },
    slashed: "//text", slashes: "says /text, which is no command then",
    code: "code, as it is written",
    keys: { "Shift+Enter": "new line", "Tab": "complete a command or a name; again: the next one", "Page Up/Down": "scroll the messages",
      "Alt+↑/↓": "other conversation", "Esc": "back to the message field" },
  },
  zh: {
    skip: "跳到输入框", sidebar: "房间与成员", log: "消息",
    rooms: "房间", talks: "私聊", people: "在线", newRoom: "打开或新建房间", help: "帮助",
    close: "关闭", closeTalk: "关闭并清除此对话", send: "发送", cancel: "取消", enter: "进入聊天",
    filter: "查找名字", nobodyFits: "列表中没有这样的名字。", menuOf: "更多（键盘按 →）",
    talk: "私聊", mention: "提及", ignore: "屏蔽", unignore: "取消屏蔽", ignoredSign: "已屏蔽",
    ignoring: "你屏蔽了 {name}：不再显示对方的发言。/unignore 可取消。只保存在此浏览器中，对方不会知道。",
    notIgnoring: "你已取消屏蔽 {name}。", notIgnored: "你没有屏蔽 {name}。", ignoredAre: "你屏蔽了 {names}。", ignoredNone: "你没有屏蔽任何人。",
    notices: "被提及时通知我", noNotices: "浏览器不允许此页面发送通知；通知需要 HTTPS 或 localhost。",
    noticesDenied: "浏览器禁止此页面发送通知，可在浏览器设置中允许。",
    noTalks: "点击名字即可私聊。", you: "你", more: n => `还有 ${n} 人`, here: n => `${n} 人在线`,
    talkTo: "与 {name} 私聊", privately: "仅你们两人可见",
    writeRoom: "在 {room} 中发言", writeTalk: "给 {name} 发私信",

    nameTitle: "怎么称呼你？", nameLabel: "名字", changeName: "更改名字",
    nameIntro: "最多 32 个字符：任何文字的字母和数字，以及 _ - .。所有人都能看到。",

    connected: "已连接", notConnected: "未连接", connecting: "正在连接……", tryNow: "立即重试",
    waiting: "连接已断开，即将重试：", shutdown: "服务器已关闭，即将重试：",
    offline: "此设备已离线。", seconds: n => `${n} 秒。`,
    kept: n => `${n} 条消息将在连接恢复后发送。`,
    answered: text => `服务器拒绝了连接：${text}。`, tryingAgain: "即将重试：",
    noUpgrade: "服务器在线，但 WebSocket 连接无法通过；中间的代理必须转发 Upgrade。",
    retaking: "旧连接仍占用你的名字，正在取回……",
    catchingUp: "正在获取错过的消息……", left: "你已离开聊天。", comeBack: "重新进入",
    elsewhere: "你已在此浏览器的另一个标签页中以 {name} 的名字在线。", useThisTab: "改用此标签页",
    keptWhere: (n, kib) => `私聊和草稿只保存在这台设备的这个浏览器里（本地存储），按名字分开：最近 ${n} 条消息，最多 ${kib} KiB。`
      + "使用这个浏览器的人都能看到。",
    forgetKept: "清除私聊和草稿", keptForgotten: "已清除。",
    nameless: "你还没有进入房间。", chooseName: "选择名字", youAreIn: "你以 {name} 的名字进入了 {room}",

    emptyRoom: "这里还没有消息", emptyRoomHint: "在下方写下第一条吧。",
    emptyTalk: "只有你和 {name}", emptyTalkHint: "这里的内容不会给其他人看到；服务器不保存，只保存在这个浏览器里。",
    older: "显示更早的消息", beginning: "服务器没有更早的消息了。",
    dropped: "为保持页面流畅，更早的消息已移除。",
    unreadMark: "新消息", latest: "最新消息 ↓", fresh: n => `${n} 条新消息`,
    restarted: "服务器已重新启动，以下是新的记录。",
    gap: n => `你在这里错过了 ${n} 条消息，服务器已不再保存。`,

    joined: "{name} 加入了", gone: "{name} 离开了", goneWhy: "{name} 离开了（{why}）", comma: "，",
    renamed: "{from} 改名为 {name}", renamedYou: "你现在叫 {name}", crowd: (i, o) => `${i} 人加入，${o} 人离开`,
    whys: { timeout: "超时", slow: "接收过慢", reset: "连接中断", room: "去了 #{room}" },
    says: "{name}：{body}", saysPrivately: "{name} 私信：{body}",

    queued: "等待中", sent: "发送中", delivered: "已送达", refused: "未发送：{text}。",
    unknown: "连接中断，这条消息可能没有送达。", wrongRoom: "你已在另一个房间",
    edit: "编辑", again: "重新发送", discard: "删除",
    longTitle: "这条消息太长了",
    tooLong: (n, limit) => `这条消息有 ${n} 字节，这里每条最多 ${limit} 字节，超出了 ${n - limit} 字节。`,
    splitInto: n => `分成 ${n} 条发送`, noSplit: n => `拆分后会超过 ${n} 条。`,
    surplus: n => `超出 ${n} 字节`,
    longerThan: limit => `超过了 ${limit} 字节`, tooLongForServer: "对服务器来说太长了",

    whoIs: "{total} 人在线：{names}", roomList: "房间：{names}", pong: ms => `服务器在 ${ms} 毫秒内应答。`,
    unknownCommand: "没有 {command} 这个命令，未发送任何内容。/help 列出所有命令，//x 发送 /x。",
    usage: "写法是 {usage}", roomsOnly: "只能在房间中使用。",
    oneLine: "命令必须单独一行，未发送任何内容。", noConnection: "未连接，未发送任何内容。", unsent: "这里还有未发送的消息。",
    errors: {
      "bad-utf8": "文字编码无效", "unknown-command": "服务器不认识这个命令", busy: "对方还没有读完之前的消息",
      dropped: "发送得太快，未被接收",
      "name-taken": "这个名字或相似的名字已被使用", "name-bad": "名字不可用：最多 32 个字母、数字或 _ - .",
      "no-such-user": "没有叫这个名字的人", "too-long": "太长了", "bad-argument": "参数有误", full: "已满",
    },
    commands: {
      msg: ["名字 内容", "发私信"], me: ["内容", "描述动作"], nick: ["名字", "更改名字"],
      join: ["房间", "去另一个房间，没有则新建"], who: ["", "谁在线"], rooms: ["", "有哪些房间"],
      history: ["[N]", "显示更早的 N 条消息"], ping: ["", "测量与服务器的往返时间"], help: ["", "显示帮助"],
      quit: ["", "离开"],
    },
    slashed: "//内容", slashes: "发送 /内容，而不作为命令",
    code: "代码，原样显示",
    keys: { "Shift+Enter": "换行", "Tab": "补全命令或名字，再按换下一个", "Page Up/Down": "滚动消息",
      "Alt+↑/↓": "切换对话", "Esc": "回到输入框" },
  },
};

const LOCALE = navigator.languages.find(language => /^(en|zh)\b/i.test(language)) ?? "en";
const T = TEXTS[LOCALE.slice(0, 2).toLowerCase()];
