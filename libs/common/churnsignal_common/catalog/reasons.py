"""Pure. The table of reason codes: what each means in a sentence with its numbers, and what to do about it."""

from dataclasses import dataclass, replace
from typing import Final

from churnsignal_common.catalog.locales import Both


@dataclass(frozen=True, slots=True)
class Reason:
    """One code. `usual` has a {value} and a {baseline}, `plain` only the value, `bare` neither; `next` is the playbook's first step.

    `better` says what value would bring a better band. {window} is the window's length, already in words. `dated`: {value} is a day.
    """

    title: Both
    usual: Both
    plain: Both
    bare: Both
    next: Both
    better: Both
    dated: bool = False


_CALL = Both("Call the main contact and ask what has changed.", "主担当者に連絡し、変化の理由を確認してください。")
_UNKNOWN_BETTER = Both("{title} at {value} would bring it back to {band}.", "{title}が{value}になると「{band}」に戻ります。")


def _reason(title: Both, usual: Both, plain: Both, bare: Both, step: Both, better: Both = _UNKNOWN_BETTER) -> Reason:
    return Reason(title, usual, plain, bare, step, better)


def _fact(title: Both, said: Both, step: Both, better: Both = _UNKNOWN_BETTER) -> Reason:
    """Return the texts of a fact that forces the band: it has no value."""
    return _reason(title, said, said, said, step, better)


def _finding(title: Both, said: Both, bare: Both, step: Both) -> Reason:
    """Return the texts of what the scorecard points out: it has no baseline, so it is said in one way."""
    return _reason(title, said, said, bare, step)


def _renewal(step_en: str, step_ja: str) -> Reason:
    found = _finding(
        Both("Renewal", "契約更新"),
        Both("The decision on the renewal is due by {value}.", "更新の判断期限は{value}です。"),
        Both("The decision on the renewal is due soon.", "更新の判断期限が近づいています。"),
        Both(step_en, step_ja),
    )
    return replace(found, dated=True)


REASONS: Final[dict[str, Reason]] = {
    "silence": _reason(
        Both("Silence", "利用の途絶"),
        Both("No use for {value}; the usual pause is {baseline}.", "{value}間ご利用がありません(普段の間隔は{baseline})。"),
        Both("No use for {value}.", "{value}間ご利用がありません。"),
        Both("No use any more.", "ご利用がありません。"),
        Both(
            "Call the main contact today: ask what stopped them, and offer to restart together.",
            "本日中に主担当者へ連絡し、利用が止まった理由を伺ったうえで、再開に向けた支援をご提案ください。",
        ),
        Both("Use within the last {value} would bring it back to {band}.", "{value}以内にご利用があれば「{band}」に戻ります。"),
    ),
    "active_days": _reason(
        Both("Days with use", "利用日数"),
        Both("Used on {value} in {window}, usually on {baseline}.", "{window}の利用は{value}(普段は{baseline})。"),
        Both("Used on {value} in {window}.", "{window}の利用は{value}。"),
        Both("Used on fewer days.", "利用日数が減っています。"),
        Both(
            "Find the routine that stopped (a report, a weekly meeting) and help them take it up again.",
            "止まった定例業務(レポートや定例会議など)を特定し、再開を支援してください。",
        ),
        Both("Using it on {value} in {window} would bring it back to {band}.", "{window}の利用が{value}まで増えると「{band}」に戻ります。"),
    ),
    "volume": _reason(
        Both("Volume of use", "利用量"),
        Both("{value} in {window}; usually {baseline}.", "{window}の利用量は{value}(普段は{baseline})。"),
        Both("{value} in {window}.", "{window}の利用量は{value}。"),
        Both("Used less than before.", "利用量が減っています。"),
        Both(
            "Compare which features fell, and show a use case that pays off quickly.",
            "減った機能を確認し、すぐ効果の出る活用例をご案内してください。",
        ),
        Both("{value} in {window} would bring it back to {band}.", "{window}の利用量が{value}まで増えると「{band}」に戻ります。"),
    ),
    "breadth": _reason(
        Both("Active users", "利用ユーザー数"),
        Both("{value} active in {window}; {baseline} are paid for.", "{window}の利用ユーザーは{value}(契約は{baseline}分)。"),
        Both("{value} active in {window}.", "{window}の利用ユーザーは{value}。"),
        Both("Fewer people use it.", "利用ユーザーが減っています。"),
        Both(
            "Ask who left or never started, and offer a short training for the team.",
            "使わなくなった方・未利用の方を確認し、チーム向けの短い勉強会を提案してください。",
        ),
        Both(
            "{value} active in {window} would bring it back to {band}.", "{window}の利用ユーザーが{value}まで増えると「{band}」に戻ります。"
        ),
    ),
    "standing": _reason(
        Both("Standing among similar accounts", "同じ区分での順位"),
        Both("Only {value} of similar accounts use it on fewer days.", "利用日数は、同じ区分のお客様の中で下位{value}です。"),
        Both("Only {value} of similar accounts use it on fewer days.", "利用日数は、同じ区分のお客様の中で下位{value}です。"),
        Both("Similar accounts use it more.", "同じ区分のお客様より利用が少ない状態です。"),
        Both(
            "Show what similar customers do with the product, and ask what keeps them from it.",
            "同じような企業の活用例をご紹介し、妨げになっていることを伺ってください。",
        ),
    ),
    "adoption": _reason(
        Both("Key features", "機能の活用度"),
        Both("{value} in use in {window}, of {baseline}.", "{window}に活用された機能は{value}({baseline}中)。"),
        Both("{value} in use in {window}.", "{window}に活用された機能は{value}。"),
        Both("Few of the key features are in use.", "主要機能の活用が進んでいません。"),
        Both("Show the one key feature that fits their goal next.", "目標に合う主要機能を一つ選び、使い方をご案内してください。"),
    ),
    "error_share": _reason(
        Both("Errors", "エラー"),
        Both("{value} of their actions failed in {window}; {baseline} is normal.", "{window}の操作の{value}がエラー(通常は{baseline})。"),
        Both("{value} of their actions failed in {window}.", "{window}の操作の{value}がエラーです。"),
        Both("Many errors.", "エラーが多発しています。"),
        Both(
            "Ask engineering for the cause, and tell the customer before they have to ask.",
            "開発チームに原因を確認し、お問い合わせの前にこちらから状況をお伝えしてください。",
        ),
        Both("Errors at {value} would bring it back to {band}.", "エラーが{value}まで減ると「{band}」に戻ります。"),
    ),
    "errors": _reason(
        Both("Errors", "エラー"),
        Both("{value} in {window}; usually {baseline}.", "{window}のエラーは{value}(普段は{baseline})。"),
        Both("{value} in {window}.", "{window}のエラーは{value}。"),
        Both("Many errors.", "エラーが多発しています。"),
        Both(
            "Ask engineering for the cause, and tell the customer before they have to ask.",
            "開発チームに原因を確認し、お問い合わせの前にこちらから状況をお伝えしてください。",
        ),
    ),
    "tickets": _reason(
        Both("Support tickets", "お問い合わせ"),
        Both("{value} opened in {window}; usually {baseline}.", "{window}のお問い合わせは{value}(普段は{baseline})。"),
        Both("{value} opened in {window}.", "{window}のお問い合わせは{value}。"),
        Both("Many support tickets.", "お問い合わせが増えています。"),
        Both(
            "Read the open tickets with support and agree on an answer date.",
            "サポートと未解決のお問い合わせを確認し、回答日を約束してください。",
        ),
    ),
    "csat": _reason(
        Both("Satisfaction", "顧客満足度"),
        Both("Satisfaction is {value}; the target is {baseline}.", "顧客満足度は{value}(目標は{baseline})。"),
        Both("Satisfaction is {value}.", "顧客満足度は{value}。"),
        Both("Satisfaction is low.", "顧客満足度が低下しています。"),
        Both("Thank them for the answer, and ask what to change first.", "ご回答へのお礼とともに、優先して改善すべき点を伺ってください。"),
    ),
    "nps": _reason(
        Both("NPS", "NPS"),
        Both("Their NPS answer is {value}; the target is {baseline}.", "NPSの回答は{value}(目標は{baseline})。"),
        Both("Their NPS answer is {value}.", "NPSの回答は{value}。"),
        Both("Their NPS answer is low.", "NPSの回答が低下しています。"),
        Both("Thank them for the answer, and ask what to change first.", "ご回答へのお礼とともに、優先して改善すべき点を伺ってください。"),
    ),
    "renewal": _reason(
        Both("Renewal", "契約更新"),
        Both("The renewal is {value} away.", "契約更新まで{value}。"),
        Both("The renewal is {value} away.", "契約更新まで{value}。"),
        Both("The renewal is near.", "契約更新が近づいています。"),
        Both("Agree on a renewal meeting with the decision maker.", "決裁者との更新のお打ち合わせを設定してください。"),
    ),
    "onboarding": _reason(
        Both("Onboarding", "オンボーディング"),
        Both("{value} reached, of {baseline}.", "達成は{value}({baseline}中)。"),
        Both("{value} reached.", "達成は{value}。"),
        Both("Onboarding is stuck.", "オンボーディングが停滞しています。"),
        Both("Book a working session for the next milestone.", "次の段階に進むための作業会を設定してください。"),
    ),
    "slope": _reason(
        Both("Trend", "利用の傾向"),
        Both("Usage changes by {value} a week; usually {baseline}.", "利用は週あたり{value}変化しています(普段は{baseline})。"),
        Both("Usage changes by {value} a week.", "利用は週あたり{value}変化しています。"),
        Both("Usage is falling week by week.", "利用が週ごとに減っています。"),
        Both(
            "Ask what has changed in their team or their process, before the habit is gone.",
            "習慣がなくなる前に、体制や業務の変化を伺ってください。",
        ),
    ),
    "single_user": _reason(
        Both("One person only", "利用者の偏り"),
        Both("One person accounts for {value} of the usage; usually {baseline}.", "利用の{value}が一名に偏っています(普段は{baseline})。"),
        Both("One person accounts for {value} of the usage.", "利用の{value}が一名に偏っています。"),
        Both("Usage depends on one person.", "利用が一名に偏っています。"),
        Both(
            "Ask that person to bring in a colleague, and offer an introduction.", "同僚の方をご紹介いただき、導入説明を提案してください。"
        ),
    ),
    "champion": _reason(
        Both("Champion", "推進役のご担当者"),
        Both(
            "Their champion has not been seen for {value}; usually {baseline}.", "推進役の方のご利用が{value}ありません(普段は{baseline})。"
        ),
        Both("Their champion has not been seen for {value}.", "推進役の方のご利用が{value}ありません。"),
        Both("Their champion is silent.", "推進役の方のご利用がありません。"),
        Both("Find out whether the champion has left, and who takes over.", "推進役の方の異動・退職の有無と、後任の方を確認してください。"),
    ),
    "urgent_tickets": _reason(
        Both("Urgent tickets", "緊急のお問い合わせ"),
        Both("{value} still open; usually {baseline}.", "未解決の緊急のお問い合わせは{value}(普段は{baseline})。"),
        Both("{value} urgent and still open.", "未解決の緊急のお問い合わせは{value}。"),
        Both("Urgent tickets are open.", "緊急のお問い合わせが未解決です。"),
        Both(
            "Agree with support on who answers today, and tell the customer.", "本日の対応者をサポートと決め、お客様にお伝えしてください。"
        ),
    ),
    "count": _reason(
        Both("Occurrences", "発生回数"),
        Both("{value} in {window}; usually {baseline}.", "{window}に{value}(普段は{baseline})。"),
        Both("{value} in {window}.", "{window}に{value}。"),
        Both("Happened too often or too seldom.", "発生回数が目安から外れています。"),
        _CALL,
    ),
    "number": _reason(
        Both("Recorded value", "記録された値"),
        Both("{value}; {baseline} is the whole.", "{value}(全体は{baseline})。"),
        Both("{value} on record.", "記録された値は{value}。"),
        Both("A recorded value is off target.", "記録された値が目安から外れています。"),
        _CALL,
    ),
    "days_since": _reason(
        Both("Time since the last contact", "最後の接点からの日数"),
        Both("{value} since it last happened; usually {baseline}.", "前回から{value}(普段は{baseline})。"),
        Both("{value} since it last happened.", "前回から{value}。"),
        Both("It has not happened for long.", "しばらく行われていません。"),
        Both("Propose a date for the next meeting.", "次回のお打ち合わせの日程をご提案してください。"),
    ),
    "days_until": _reason(
        Both("Date ahead", "期日"),
        Both("{value} are left; usually {baseline}.", "残り{value}(普段は{baseline})。"),
        Both("{value} are left.", "残り{value}。"),
        Both("A date is near.", "期日が近づいています。"),
        Both("Agree on what happens on that day.", "期日の対応について合意してください。"),
    ),
    "invoice": _reason(
        Both("Unpaid invoice", "未払いの請求"),
        Both("Unpaid for {value}; usually {baseline}.", "{value}間お支払いがありません(普段は{baseline})。"),
        Both("Unpaid for {value}.", "{value}間お支払いがありません。"),
        Both("An invoice is unpaid.", "お支払いが済んでいない請求があります。"),
        Both("Ask their billing contact what is holding up the payment.", "経理ご担当者にお支払いの状況を確認してください。"),
    ),
    "time_to_value": _reason(
        Both("Time to first value", "最初の成果までの日数"),
        Both("{value} to the first result; the target is {baseline}.", "最初の成果まで{value}(目標は{baseline})。"),
        Both("{value} to the first result so far.", "最初の成果まで{value}。"),
        Both("The first result is late.", "最初の成果が遅れています。"),
        Both("Take the first step together with them this week.", "最初の成果に向けた作業を、今週中に一緒に進めてください。"),
    ),
    "qbr": _reason(
        Both("Business review", "定例レビュー"),
        Both(
            "The last business review was rated {value}; the target is {baseline}.", "前回の定例レビューの評価は{value}(目標は{baseline})。"
        ),
        Both("The last business review was rated {value}.", "前回の定例レビューの評価は{value}。"),
        Both("The last business review went badly.", "前回の定例レビューの評価が低い状態です。"),
        Both("Go through the open points of the review with them.", "レビューの未解決の論点を一緒に確認してください。"),
    ),
    "csm_view": _reason(
        Both("The CSM’s own view", "担当CSMの所見"),
        Both("Their CSM gives {value}; the target is {baseline}.", "担当CSMの評価は{value}(目標は{baseline})。"),
        Both("Their CSM gives {value}.", "担当CSMの評価は{value}。"),
        Both("Their CSM is worried.", "担当CSMが懸念しています。"),
        Both("Ask the CSM what they have seen that the numbers have not.", "数値に表れていない懸念を担当CSMに確認してください。"),
    ),
    "red_children": _finding(
        Both("Accounts below it", "配下のアカウント"),
        Both("Accounts at risk directly below it: {value}.", "直下の{value}が危険な状態です。"),
        Both("An account directly below it is at risk.", "直下のアカウントに危険な状態のものがあります。"),
        Both("Agree on one plan with whoever has the account below it.", "配下のアカウントの担当者と対応方針をすり合わせてください。"),
    ),
    "score_fall": _reason(
        Both("Fall of the score", "スコアの低下"),
        Both("The score is {value}, down from {baseline}.", "スコアは{value}({baseline}から低下)。"),
        Both("The score is {value}.", "スコアは{value}。"),
        Both("The score has fallen.", "スコアが低下しています。"),
        _CALL,
    ),
    "payment_failed": _fact(
        Both("Payment failed", "決済の失敗"),
        Both("A payment failed.", "お支払いの決済に失敗しました。"),
        Both(
            "Send their billing contact the invoice today, and find out whether it is only the card or a decision to leave.",
            "本日中に請求書を添えて経理ご担当者へ連絡し、カードの問題か解約のご意向かを確認してください。",
        ),
        Both("A successful payment would bring it back to {band}.", "お支払いが完了すると「{band}」に戻ります。"),
    ),
    "cancelled": _fact(
        Both("Cancellation", "解約の申し出"),
        Both("They have asked to cancel.", "解約のお申し出がありました。"),
        Both(
            "Call the decision maker now: ask for the reason, and what would make them stay.",
            "すぐに決裁者へ連絡し、理由と、継続に必要なことを伺ってください。",
        ),
    ),
    "owner_deleted": _fact(
        Both("Account owner gone", "管理者の削除"),
        Both("The customer’s account owner was deleted.", "お客様側の管理者が削除されました。"),
        Both("Find the new person in charge and introduce yourself.", "新しいご担当者を確認し、ご挨拶してください。"),
    ),
    "override": _fact(
        Both("Set by hand", "手動設定"),
        Both("Somebody set the band by hand.", "担当者が手動で設定しました。"),
        Both("Ask the author of the override for the plan.", "手動設定した担当者に方針を確認してください。"),
    ),
    "seats_full": _finding(
        Both("Seats nearly full", "席数の上限間近"),
        Both("{value} of their seats are used.", "席の利用率は{value}です。"),
        Both("Nearly all seats are used.", "席がほぼ埋まっています。"),
        Both(
            "Ask who else will need a seat, and send an offer before they run out.",
            "今後の利用者数を伺い、席が埋まる前に追加のご提案をお送りください。",
        ),
    ),
    "usage_growing": _finding(
        Both("Growing usage", "利用の拡大"),
        Both("Usage is up by {value}.", "利用が{value}伸びています。"),
        Both("Usage is growing strongly.", "利用が大きく伸びています。"),
        Both("Ask what they use it for now, and what they plan to do next.", "現在の用途と今後のご計画を伺ってください。"),
    ),
    "renewal_in_90_days": _renewal(
        "Review their goals and results with them, and name what is missing.",
        "目標と成果を一緒に振り返り、不足している点を確認してください。",
    ),
    "renewal_in_60_days": _renewal(
        "Send the offer, and agree on who decides and when.", "見積もりをお送りし、決裁者と時期を確認してください。"
    ),
    "renewal_in_30_days": _renewal("Ask the decision maker for the decision.", "決裁者に更新のご意向を確認してください。"),
    "onboarding_stuck": _finding(
        Both("Onboarding stuck", "オンボーディングの停滞"),
        Both("Only {value} reached so far.", "完了は{value}にとどまっています。"),
        Both("Still short of the first result.", "まだ最初の成果に至っていません。"),
        Both(
            "Find out what is holding them up, and take the next step together.", "つまずいている点を伺い、次の手順を一緒に進めてください。"
        ),
    ),
}


def reason_of(code: str) -> Reason:
    """Return the code's row; a code that we do not know yet still reads as a sentence."""
    if code in REASONS:
        return REASONS[code]
    name = code.replace("_", " ").replace(".", " ").strip() or "measure"
    both = Both(name[:1].upper() + name[1:], name)
    safe = Both(both.en.replace("{", "(").replace("}", ")"), both.ja.replace("{", "(").replace("}", ")"))
    return Reason(
        safe,
        Both(f"{safe.en}: {{value}} in {{window}}; usually {{baseline}}.", f"{safe.ja}: {{window}}で{{value}}(普段は{{baseline}})。"),
        Both(f"{safe.en}: {{value}} in {{window}}.", f"{safe.ja}: {{window}}で{{value}}。"),
        Both(f"{safe.en} has got worse.", f"{safe.ja}が悪化しています。"),
        _CALL,
        _UNKNOWN_BETTER,
    )
