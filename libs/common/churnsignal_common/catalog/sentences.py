"""Pure. The sentences of messages, buttons and pages, each in both languages. Scores, dates and amounts are formatted before they are put in."""

from typing import Final

from churnsignal_common.catalog.locales import Both, Locale
from churnsignal_common.contracts.risk import Band, Cause

BANDS: Final = {
    Band.RED: Both("red", "危険"),
    Band.YELLOW: Both("yellow", "注意"),
    Band.GREEN: Both("green", "健全"),
    Band.GREY: Both("not enough data", "データ不足"),
}

CAUSES: Final = {
    Cause.EVENT: Both("something that happened", "お客様の出来事"),
    Cause.CLOSE: Both("the daily evaluation", "日次の評価"),
    Cause.HISTORY: Both("imported history", "過去データの取り込み"),
    Cause.FIRST: Both("the first evaluation", "初回の評価"),
    Cause.SCORECARD: Both("a new scorecard", "スコアカードの変更"),
    Cause.MAPPING: Both("a new event mapping", "イベント定義の変更"),
    Cause.THAW: Both("data that arrives again", "データ受信の再開"),
    Cause.CATCH_UP: Both("an evaluation that was made up for", "遅れていた評価の実施"),
    Cause.MERGED: Both("a merge into another account", "他アカウントへの統合"),
}

_SENTENCES: Final[dict[str, Both]] = {
    # Headlines. {account} is a customer's name.
    "risk.headline": Both("{account} is at risk", "{account} 様に解約予兆"),
    "risk.headline.reopened": Both("{account} is at risk again", "{account} 様に再び解約予兆"),
    "headline.recovered": Both("{account} has recovered", "{account} 様が回復しました"),
    "headline.unscored": Both("{account} can no longer be scored", "{account} 様はデータ不足になりました"),
    "risk.headline.over": Both("{account} was at risk", "{account} 様の解約予兆(終了)"),
    "risk.headline.reminder": Both("{account} is still at risk", "{account} 様の解約予兆が続いています"),
    "headline.nudge": Both("{account} is still waiting for you", "{account} 様のアラートが未対応です"),
    "headline.escalated": Both("No action yet: {headline}", "【未対応】{headline}"),
    "risk.headline.moved": Both("{account} is at risk, and now yours", "解約予兆のある {account} 様の担当になりました"),
    "risk.headline.worse": Both("{account} has got worse", "{account} 様の状態がさらに悪化"),
    "early_warning.headline": Both("{account} needs attention", "{account} 様が「注意」の状態です"),
    "opportunity.headline": Both("{account} has room to grow", "{account} 様にアップセルの機会"),
    "renewal.headline": Both("{account} is about to renew", "{account} 様の契約更新が近づいています"),
    "onboarding.headline": Both("{account} is stuck in onboarding", "{account} 様のオンボーディングが停滞しています"),
    "headline.moved": Both("{account} is now yours", "{account} 様の担当になりました"),
    "headline.over": Both("{account}: alert ended", "{account} 様のアラート(終了)"),
    # The facts.
    "label.worth": Both("At stake", "契約額"),
    "label.contract": Both("Contract", "契約額"),
    "label.renewal": Both("Renewal", "契約更新日"),
    "label.score": Both("Health score", "ヘルススコア"),
    "label.since": Both("Since", "発生日"),
    "label.last_use": Both("Last use", "最終利用"),
    "label.touched": Both("Last contact", "最終コンタクト"),
    "label.csm": Both("CSM", "担当CSM"),
    "task.open": Both("{step} (by {day})", "{step}(期限 {day})"),
    "task.done": Both("✓ {step} (done by {by})", "✓ {step}({by} が完了)"),
    "label.trend": Both("Score over {days}", "{days}間のスコア"),
    "trend.lowest": Both(", lowest {lowest}", "、最低 {lowest}"),
    "trend.ends": Both("from {first} to {last}", "{first} → {last}"),
    "label.why": Both("Why", "要因"),
    "label.found": Both("What stands out", "注目点"),
    "label.next": Both("What to do next", "次の一手"),
    "label.better": Both("What would help", "改善の目安"),
    "label.state": Both("Status", "状況"),
    "worth.unknown": Both("not recorded", "未登録"),
    "worth.seats": Both("{amount} · {seats}", "{amount}・{seats}"),
    "renewal.ahead": Both("{day} (in {left})", "{day}、あと{left}"),
    "renewal.notice": Both("{day} (in {left}; notice by {notice})", "{day}、あと{left}(解約申出の期限 {notice})"),
    "renewal.today": Both("{day} (today)", "{day}、本日"),
    "renewal.past": Both("{day} (overdue by {left})", "{day}、{left}超過"),
    "renewal.unknown": Both("not recorded", "未登録"),
    "score": Both("{score} ({bands})", "{score}({bands})"),
    "since.before": Both("{day} ({from_band} from {before})", "{day}、それまでは{before}から「{from_band}」"),
    "plan": Both("Plan: {plan}", "プラン: {plan}"),
    "coverage": Both("Based on {coverage} of the measures · as of {moment}", "指標の{coverage}をもとに算出・{moment} 時点"),
    "cause.silent": Both("Found through {cause}", "きっかけ: {cause}"),
    "frozen.source": Both(
        "No data from {source} since {moment}: the score holds still until it arrives again",
        "{source} からのデータが {moment} から届いていないため、再開するまでスコアを据え置いています",
    ),
    # Recovery and the rest of an episode's life.
    "recovered.after": Both(
        "It was {band} for {length} ({from_day} to {to_day}).", "「{band}」の状態は{length}でした({from_day}〜{to_day})。"
    ),
    "recovered.now": Both("Score {before} → {after}, now {to_band}.", "スコアは {before} → {after}、現在は「{to_band}」です。"),
    "unscored.after": Both(
        "There is no longer enough data to say how this account is doing. It was {band} for {length}.",
        "判断に足りるデータがなくなりました。「{band}」の状態は{length}でした。",
    ),
    "reopened.times": Both("It has turned {band} {times} since {day}.", "{day}以降、「{band}」になるのはこれで{times}目です。"),
    "reminder.snooze": Both("Your snooze is over, and it is still at risk.", "ご指定の日時になりましたが、解約予兆が続いています。"),
    "reminder.worse": Both(
        "You asked to be told when it gets worse. It has.", "「悪化するまで」通知を止めるご指定でしたが、状態が悪化したためお知らせします。"
    ),
    "reminder.again": Both("Your snooze is over.", "ご指定の日時になりましたので、あらためてお知らせします。"),
    "reminder.more": Both("Something new has come up since the last message.", "前回のお知らせ以降に、新しい動きがありました。"),
    "nudge.open": Both("No action has been recorded for {length}.", "{length}たちましたが、対応が記録されていません。"),
    "escalated.from": Both(
        "{owner} was told, but no action has been recorded for {length}.", "{owner} に通知してから{length}、対応が記録されていません。"
    ),
    "moved.from": Both(
        "You now look after this account. The alert has been open for {length}.",
        "このお客様の担当になりました。アラートは{length}続いています。",
    ),
    # Summaries.
    "summary.headline": Both("{accounts} at risk", "解約予兆のあるお客様 {accounts}"),
    "summary.headline.early_warning": Both("{accounts} to watch", "「注意」のお客様 {accounts}"),
    "summary.total": Both("{amount} at stake in total", "契約額の合計 {amount}"),
    "summary.intro": Both(
        "Ranked by revenue, renewal and score. Start at the top.", "契約額・更新日・スコアの順に並べています。上から順にご確認ください。"
    ),
    "summary.line.risk": Both("Score {after} ({band})", "スコア {after}({band})"),
    "summary.line.recovery": Both(
        "Was {band} for {length}, now recovered: score {after}", "{length}「{band}」でしたが、回復しました(スコア {after})"
    ),
    "summary.line.unscored": Both(
        "Was {band} for {length}; there is no longer enough data", "{length}「{band}」でしたが、データ不足になりました"
    ),
    "summary.line.handed": Both("Now looked after by {to}", "担当が {to} に変わりました"),
    "summary.line.missed": Both(
        "Was {band} for {length}, and recovered before you were told", "{length}「{band}」でしたが、お知らせの前に回復しました"
    ),
    "summary.line.renewal": Both("renewal {day}", "更新 {day}"),
    "summary.line.passed": Both("No longer applies; ended before you were told", "お知らせの前に該当しなくなりました"),
    "kind.opportunity": Both("opportunity", "アップセルの機会"),
    "kind.renewal": Both("renewal checkpoint", "更新前の確認"),
    "kind.onboarding": Both("onboarding", "オンボーディング"),
    "finding.opportunity": Both("Ask about their plans, and offer what fits.", "今後のご計画を伺い、合うプランをご提案ください。"),
    "finding.renewal": Both("Agree with the decision maker on what the renewal depends on.", "更新の条件を決裁者と確認してください。"),
    "finding.onboarding": Both(
        "Find out what is holding them up, and take the next step together.", "つまずいている点を伺い、次の手順を一緒に進めてください。"
    ),
    "digest.headline": Both("Your digest for {span}: {accounts}", "{span}のまとめ: {accounts}"),
    "digest.span": Both("{begin} – {end}", "{begin}〜{end}"),
    "digest.why": Both(
        "Alerts that could wait, and those over your daily limit.",
        "急ぎでないものと、1日のお知らせの上限を超えたものをまとめてお知らせしています。",
    ),
    "summary.headline.mixed": Both("News on {accounts}", "{accounts}の動き"),
    "summary.more": Both("… and {count} more: {names}", "…ほか{count}件: {names}"),
    "summary.why": Both("Sent together because of: {causes}.", "まとめてお知らせする理由: {causes}。"),
    "summary.many": Both("many accounts at once", "同時に多数の変化"),
    # To the operator.
    "watchdog.headline": Both("Test alert: delivery works", "テスト配信: アラートは正常に届いています"),
    "watchdog.said": Both(
        "Sent by the watchdog at {moment}, the same way as every alert. No action is needed.",
        "通常のアラートと同じ経路で {moment} にお送りした、監視用の定期配信です。対応は不要です。",
    ),
    "trouble.headline": Both("Alerts no longer reach {where}", "アラートが届きません: {where}"),
    "trouble.reason": Both("The answer was: {reason}.", "先方の応答: {reason}"),
    "trouble.everywhere": Both(
        "Until it works again, alerts go by the other channels. Check its settings: the token or password, and the permissions.",
        "復旧するまで、すべて別の経路でお送りします。トークンやパスワード、権限の設定をご確認ください。",
    ),
    "trouble.unconfigured": Both(
        "Nothing is sent there: {setting} is not set. What waited for it goes another way; what has no other way waits. "
        "Set it, or give CSMs and routing.yaml addresses on the channels that are configured.",
        "{setting} が設定されていないため、送信できません。送れなかったアラートは別の経路でお送りし、ほかに経路がないものは設定されるまで保留します。"
        "設定するか、CSMの登録内容と routing.yaml に設定済みの経路の宛先を登録してください。",
    ),
    "trouble.bounced": Both(
        "Nothing more is sent to this address for a week; alerts go to the next in line. Correct it in the directory of CSMs or in routing.yaml.",
        "この宛先への送信を1週間止め、アラートは次の担当にお送りします。CSMの登録内容または routing.yaml を修正してください。",
    ),
    "trouble.place": Both(
        "Until then, alerts take another way. Correct the address in the directory of CSMs or in routing.yaml.",
        "修正されるまで、アラートは別の経路でお送りします。CSMの登録内容または routing.yaml の宛先を修正してください。",
    ),
    "trouble.message": Both(
        "The address is right: the message itself was not taken, and went another way. That is a mistake in Churnsignal; please report it with this answer.",
        "宛先の誤りではありません。メッセージ自体が受け付けられず、別の経路でお送りしました。Churnsignal の不具合のため、この応答を添えてご報告ください。",
    ),
    # Buttons, links, answers.
    "button.acknowledge": Both("I’m on it", "対応を開始"),
    "button.snooze": Both("Tell me tomorrow", "明日あらためて通知"),
    "button.later": Both("Remind me later…", "あとで通知…"),
    "button.close": Both("Close…", "対応を完了…"),
    "button.reassign": Both("Reassign…", "担当を変更…"),
    "button.note": Both("Add a note or contact…", "メモ・コンタクトを記録…"),
    "feedback.useful": Both("This alert was useful", "役に立った"),
    "feedback.false_alarm": Both("This alert was a false alarm", "誤検知だった"),
    "feedback.already_known": Both("I knew already", "すでに把握していた"),
    # The windows behind buttons in Slack: a title has at most 24 characters.
    "modal.snooze": Both("Remind me later", "あとで通知"),
    "modal.close": Both("Close the alert", "対応を完了"),
    "modal.reassign": Both("Reassign the alert", "担当を変更"),
    "modal.note": Both("Note or contact", "メモ・コンタクトの記録"),
    "modal.submit": Both("Save", "保存"),
    "modal.cancel": Both("Cancel", "キャンセル"),
    "modal.label.for": Both("For how long", "通知を止める期間"),
    "modal.label.date": Both("Or until", "または日時を指定"),
    "modal.label.outcome": Both("What came of it", "結果"),
    "modal.label.note": Both("In a few words", "内容・理由"),
    "modal.label.to": Both("Who takes over", "引き継ぐ方"),
    "modal.label.way": Both("What kind", "種類"),
    "modal.past": Both("Choose a time that lies ahead.", "これからの日時をお選びください。"),
    "modal.nobody": Both("This person is not in the directory of CSMs.", "この方はCSMとして登録されていません。"),
    "modal.wrong": Both("This cannot be saved. Close the window and try again.", "保存できません。画面を閉じて、もう一度お試しください。"),
    "snooze.1": Both("Until tomorrow", "明日まで"),
    "snooze.3": Both("3 days", "3日間"),
    "snooze.7": Both("A week", "1週間"),
    "snooze.14": Both("2 weeks", "2週間"),
    "snooze.worse": Both("Until it gets worse", "悪化するまで"),
    "way.note": Both("Note", "メモ"),
    "way.meeting": Both("Meeting", "打ち合わせ"),
    "way.email": Both("E-mail", "メール"),
    "way.call": Both("Call", "電話"),
    "button.open": Both("Open the account", "お客様情報を開く"),
    "email.how": Both(
        "Each link opens a confirmation page.", "リンクを開くと確認画面が表示されます。内容をご確認のうえ、確定してください。"
    ),
    "email.footer": Both(
        "Sent by Churnsignal to {address}. Episode {episode}.", "Churnsignal から {address} にお送りしています。アラート番号 {episode}。"
    ),
    "email.duplicate": Both(
        "You may have received this message already: the first sending could not be confirmed.",
        "送信の確認が取れなかったため、同じ内容が二度届いている場合があります。",
    ),
    "state.open": Both("waiting for you", "対応待ち"),
    "state.acknowledged": Both("{by} has been on it since {moment}", "{moment} から {by} が対応中"),
    "state.snoozed": Both("snoozed by {by} until {moment}", "{moment} まで {by} が通知を停止中"),
    "state.recovered": Both("recovered on {day}", "{day}に回復"),
    "state.passed": Both("no longer applies (since {day})", "{day}に該当しなくなりました"),
    "state.snoozed.worse": Both(
        "snoozed by {by} until it gets worse, or until {moment}", "悪化するまで {by} が通知を停止中(最長で {moment} まで)"
    ),
    "state.closed": Both("closed by {by}: {outcome}", "{by} が対応完了: {outcome}"),
    "state.closed.why": Both("{said} (“{note}”)", "{said}(「{note}」)"),
    "outcome.saved": Both("saved", "継続"),
    "outcome.churned": Both("churned", "解約"),
    "outcome.false_alarm": Both("false alarm", "誤検知"),
    "outcome.no_action": Both("no action needed", "対応不要"),
    "page.title": Both("Alert for {account}", "{account} 様のアラート"),
    "page.expired": Both(
        "This link is no longer valid. Open the newest message about this account, or ask your operator.",
        "このリンクは無効です。最新のお知らせを開くか、管理者にお問い合わせください。",
    ),
    "page.ask.acknowledge": Both("Start working on this account?", "このお客様の対応を開始しますか。"),
    "page.ask.close": Both("What came of this account? The alert will be closed.", "結果をご記入のうえ、対応を完了してください。"),
    "page.ask.snooze": Both("Be told again tomorrow?", "明日あらためて通知しますか。"),
    "page.done": Both("Noted.", "承りました。"),
    "page.already": Both("This had been noted before; nothing changed.", "すでに承っております。変更はありません。"),
    # Why an account is what it is, now or on a day of the past.
    "explain.headline": Both(
        "{account} on {day}: {band}, score {score} of 100.", "{account} 様、{day}時点: {band}、スコア {score}(100点満点)。"
    ),
    "explain.headline.unscored": Both("{account} on {day}: {band}.", "{account} 様、{day}時点: {band}。"),
    "explain.better.several": Both(
        "No single change is enough: several of these have to improve.", "1つの改善だけでは足りません。複数の要因の改善が必要です。"
    ),
    "explain.better.fact": Both("It stays {band} while this holds: {fact}", "次の状態が続く間は{band}のままです: {fact}"),
    "explain.better.override": Both(
        "It stays {band} until {until}, or until the override is ended.", "{until}まで、または手動設定を解除するまで{band}のままです。"
    ),
    "explain.dwell": Both("That has to hold for {closes} in a row.", "その状態が{closes}続く必要があります。"),
    "explain.dwell.red": Both(
        "That has to hold for {closes} in a row, with use on {used} in {window} (or in its usual pause, if longer).",
        "その状態が{closes}続き、{window}(普段の利用間隔のほうが長ければその間)に{used}の利用が必要です。",
    ),
    "explain.override": Both(
        "{by} set it to {band} until {until}: {reason}. Without that it would be {computed}.",
        "{by} が{until}まで{band}に設定しています(理由: {reason})。設定がなければ{computed}です。",
    ),
    "explain.moved": Both("Points since its band last changed: {measures}.", "判定が最後に変わってからの点数の増減: {measures}。"),
    "explain.missing": Both("Without a value: {measures}.", "値がない指標: {measures}。"),
    "explain.held.churned": Both("The account has churned, so it holds still.", "解約済みのため、評価は動きません。"),
    "explain.held.paused": Both("The account is paused, so it holds still.", "一時停止中のため、評価は動きません。"),
    "explain.held.ignored": Both("The account is ignored, so it holds still.", "評価の対象外のため、評価は動きません。"),
    "explain.held.merged": Both("The account is a part of another one now.", "別のアカウントに統合されています。"),
    "explain.held.frozen": Both(
        "Everything that sends its data is silent, so its own silence says nothing.",
        "データの送信元がすべて止まっているため、評価を止めています。",
    ),
    "page.over": Both("This episode has ended; there is nothing left to do.", "このアラートはすでに終了しています。"),
}


def say(locale: Locale, key: str, **facts: str) -> str:
    """Return the sentence `key` in the reader's language with `facts` put in; an unknown key is a mistake of ours."""
    return _SENTENCES[key].to(locale).format(**facts)


def band(locale: Locale, value: Band) -> str:
    """Return the band's name."""
    return BANDS[value].to(locale)


def cause(locale: Locale, value: Cause) -> str:
    """Return what moved the band, in words."""
    return CAUSES[value].to(locale)


def keys() -> tuple[str, ...]:
    """Return all keys, for the test of completeness."""
    return tuple(_SENTENCES)
